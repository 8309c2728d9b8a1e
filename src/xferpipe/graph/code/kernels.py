"""Hash C++ and CUDA sources by their tokens: comments and layout do not count."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from xferpipe.native_sources import native_sources

_TOKEN = re.compile(
    r"""
    (?: (?P<nothing> //(?:\\\r?\n|[^\n])* | /\*.*?\*/ | \\\r?\n | [^\S\n]+ )
      | (?P<line> \n )
      | (?P<define> \#[^\S\n]*define[^\S\n]+\w+\(? )
      | (?P<directive> \# )
      | (?P<token>
          (?:u8|[uUL])?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"
        | (?:u8|[uUL])?"(?:\\.|[^"\\\n])*"
        | (?:u8|[uUL])?'(?:\\.|[^'\\\n])+'
        | \.?\d(?:[eEpP][+-]|'?[\w.])*
        | \w+
        | <<<|>>>|<<=|>>=|\.\.\.|->\*|<=>|::|->|\+\+|--|<<|>>|&&|\|\||\#\#|\.\*
        | [-+*/%^&|<>=!]=
        | .
        )
    ) [^\S\n]*
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(source: str) -> list[str]:
    """Split a source into what a compiler sees.

    A directive ends with its line, so that newline stays; so does whether a macro's name touches
    its bracket.
    """
    found: list[str] = []
    in_directive = False
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup
        if kind == "nothing":
            continue
        if kind == "line":
            if in_directive:
                found.append("\n")
            in_directive = False
        elif kind == "define":
            found += match["define"].replace("#", " # ", 1).split()
            in_directive = True
        else:
            in_directive = in_directive or kind == "directive"
            found.append(match[kind])
    return found


def kernel_hash(sources: Path, built: Path) -> str:
    """Hash the kernels of a checkout, or those of an installed wheel.

    Args:
        sources: Folder `csrc` of a checkout.
        built: Folder of the built extension. A wheel has no sources; the extension's name holds
            their hash.
    """
    digest = hashlib.sha256()
    if sources.is_dir():
        for path in native_sources(sources):
            text = "\0".join(tokens(path.read_text(encoding="utf-8")))
            digest.update(f"{path.relative_to(sources).as_posix()}\0{text}\0".encode())
    else:
        names = sorted({path.name.split(".")[0] for path in built.glob("_native_*")})
        digest.update("\0".join(names).encode())
    return digest.hexdigest()
