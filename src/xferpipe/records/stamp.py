"""What an output says of itself: the key of the job that wrote it, and what that key is made of.

A stamp lies in the file: in the footer of Parquet, in the header of safetensors, in a text chunk of
PNG, among the keys of JSON, in a comment that ends HTML, SVG and Markdown. Formats without a place
for it (NPY, ONNX, folders) have a file beside or inside them. Whoever rewrites a file with
another program loses the stamp, so what was edited is not taken for a result.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

_PREFIX = "xferpipe."
_COMMENT = "<!-- xferpipe "
_IN_FOLDER = "xferpipe.json"


@dataclass(frozen=True)
class Stamp:
    """What a job's outputs carry.

    Attributes:
        key: Cumulative key: a hash over everything that the job's result depends on.
        job: Stage and wildcards, as `finetune digits/full/resnet8/sgd/0`.
        slice: The part of the study that the job read, as sorted JSON.
        code: Hash of the code that computed it.
        versions: Versions of the libraries that computed it, as sorted JSON.
    """

    key: str
    job: str
    slice: str
    code: str
    versions: str

    def metadata(self) -> dict[str, str]:
        """Return the fields under the names that they have in a file."""
        return {f"{_PREFIX}{name}": value for name, value in asdict(self).items()}


#: Of the job that this process runs; a process runs one job at a time.
_running: Stamp | None = None


def stamp_of_job() -> Stamp | None:
    """Return the stamp of the job that runs, or None outside of the workflow."""
    return _running


def metadata_of_job() -> dict[str, str]:
    """Return what every file of the running job carries; empty outside of the workflow."""
    return _running.metadata() if _running else {}


@contextlib.contextmanager
def stamping(stamp: Stamp | None) -> Iterator[None]:
    """Have everything that is written in the block carry a stamp."""
    global _running
    before, _running = _running, stamp
    try:
        yield
    finally:
        _running = before


def stamped_text(text: str) -> str:
    """Return HTML, SVG or Markdown with the running job's stamp as its last line."""
    metadata = metadata_of_job()
    if not metadata:
        return text
    # "--" may not stand in a comment, and JSON knows another way to write it.
    content = json.dumps(metadata).replace("--", "-\\u002d")
    return f"{text.rstrip()}\n{_COMMENT}{content} -->\n"


def sidecar_of(path: Path) -> Path | None:
    """Return the file that holds the stamp of a folder, NPY or ONNX file; None where it does."""
    if path.is_dir():
        return path / _IN_FOLDER
    return path.with_name(f"{path.name}.json") if path.suffix in (".npy", ".onnx") else None


def write_sidecar(path: Path, stamp: Stamp) -> None:
    """Write the stamp of a folder, NPY or ONNX file; nothing for files that hold their own."""
    sidecar = sidecar_of(path)
    if sidecar is not None:
        sidecar.write_text(json.dumps(stamp.metadata(), sort_keys=True))


def read_stamp(path: Path | str) -> Stamp | None:
    """Read what an output says of itself.

    Args:
        path: A file or folder of the workflow's.
    Returns:
        The stamp; None where there is none, or the file is damaged or gone.
    """
    path = Path(path)
    try:
        found = dict(_metadata(path))
    except Exception:  # Whatever a damaged file makes of a reader, it has no stamp.
        return None
    values = {field.name: found.get(f"{_PREFIX}{field.name}") for field in fields(Stamp)}
    if not all(isinstance(value, str) for value in values.values()):
        return None
    return Stamp(**values)


def _metadata(path: Path) -> dict[str, str]:
    sidecar = sidecar_of(path)
    if sidecar is not None:
        return json.loads(sidecar.read_text()) if path.exists() else {}
    if path.suffix == ".parquet":
        import pyarrow.parquet

        found = pyarrow.parquet.read_metadata(path).metadata or {}
        return {key.decode(): value.decode() for key, value in found.items()}
    if path.suffix == ".safetensors":
        return _safetensors_metadata(path)
    if path.suffix in (".html", ".svg", ".md"):
        return _comment(path)
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as picture:
            return dict(picture.text)
    return json.loads(path.read_text()) if path.suffix == ".json" else {}


def _safetensors_metadata(path: Path) -> dict[str, str]:
    """Read the header alone: the tensors of a large study are gigabytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path}: its header is longer than the file")
        return json.loads(file.read(length)).get("__metadata__", {})


def _comment(path: Path) -> dict[str, str]:
    lines = path.read_bytes().rstrip().rsplit(b"\n", 1)
    last = lines[-1].decode()
    if not last.startswith(_COMMENT):
        return {}
    return json.loads(last.removeprefix(_COMMENT).removesuffix(" -->"))
