"""The committed table of pretrained models: what torchvision and timm say of each.

Read without importing either library. `python -m xferpipe.zoo.make_catalogue` writes the table.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

TABLE = Path(__file__).with_name("catalogue.csv")
#: What the name of a timm model begins with in a study.
TIMM = "timm:"


@dataclass(frozen=True)
class Listed:
    """An architecture, and one set of weights of it; None where nothing is stated.

    Attributes:
        architecture: As a study has it: `timm:<name>`, or a name of torchvision.
        weights: Tag (timm) or weight name (torchvision); "" for an architecture without weights.
        usual: These are the weights that are meant where none are named.
        parameters: Without the classifier, as in table `zoo`.
        side: Side in pixels of the images that it was trained on.
        fixed: It takes images of the side that it was built for alone.
        side_step: Sides that it can be built for (`fixed`), or takes, are multiples of this; None:
            its own side alone.
        least_side: Least side that it takes.
        mean, std: Channel means and deviations of pixels in [0, 1].
        crop_pct: Part of the resized image's side that is cut out of its middle.
        interpolation: Of the resizing; bilinear or bicubic.
        data: What it was trained on, in order.
        licence: Of the weights.
        file: Where the weights are cached: a file of torch's hub, or a repository of Hugging Face.
        problem: Why xferpipe cannot use it; None where it can.
        source: Package and version that the statements are of, but for the next two.
        data_source, licence_source: URL, or package and version.
    """

    architecture: str
    weights: str
    usual: bool
    parameters: int | None
    side: int | None
    fixed: bool
    side_step: int | None
    least_side: int | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    crop_pct: float | None
    interpolation: str | None
    data: str | None
    licence: str | None
    file: str | None
    problem: str | None
    source: str
    data_source: str | None
    licence_source: str | None

    @property
    def word(self) -> str:
        """Name as `init --models` takes it; of torchvision, whose names have no weights, both."""
        if not self.weights or (self.usual and not self.architecture.startswith(TIMM)):
            return self.architecture
        return f"{self.architecture}.{self.weights}"

    def takes(self, side: int) -> bool:
        """Tell whether it takes images of a side, if it is built for them."""
        if side == self.side:
            return True
        if side < (self.least_side or 0):
            return False
        return self.side_step is not None and side % self.side_step == 0

    def sides(self) -> str:
        """Say which sides in pixels it takes."""
        own = f"{self.side}" if self.side is not None else ""
        least = f" from {self.least_side} on" if self.least_side else ""
        if self.side_step is None:
            return f"{own} alone"
        if self.side_step == 1:
            return f"any{least}"
        also = f", or {own}" if self.side and self.side % self.side_step else ""
        return f"multiples of {self.side_step}{least}{also}"


@functools.cache
def catalogue() -> MappingProxyType[tuple[str, str], Listed]:
    """Return the table, (architecture, weights) -> row, in its order."""
    return MappingProxyType({(row.architecture, row.weights): row for row in read(TABLE)})


def read(path: Path) -> Iterator[Listed]:
    """Yield the rows of a table that `written` wrote."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield Listed(**{name: _value(name, text) for name, text in row.items()})


def written(row: Listed) -> dict[str, str]:
    """Return a row as text."""
    return {field.name: _text(getattr(row, field.name)) for field in fields(row)}


def listed(architecture: str, weights: str | None = None) -> Listed | None:
    """Return the row of an architecture and its weights; None where the table has none.

    Args:
        architecture: As a study has it; behind a timm name may stand a tag.
        weights: Tag or weight name; None: those that are meant where none are named.
    """
    if architecture.startswith(TIMM) and weights is None:
        architecture, _, tag = architecture.partition(".")
        weights = tag or None
    if weights is None:
        weights = _usual().get(architecture, "")
    return catalogue().get((architecture, weights))


@functools.cache
def _usual() -> dict[str, str]:
    return {row.architecture: row.weights for row in catalogue().values() if row.usual}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value)


def _value(name: str, text: str) -> Any:
    if name == "weights":
        return text
    if name in ("usual", "fixed"):
        return text == "1"
    if not text:
        return None
    if name in ("parameters", "side", "side_step", "least_side"):
        return int(text)
    if name in ("mean", "std"):
        return tuple(map(float, text.split()))
    return float(text) if name == "crop_pct" else text
