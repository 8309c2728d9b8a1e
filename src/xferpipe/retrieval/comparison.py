"""Features made ready for comparison: moved and scaled where float32 would lose digits.

The kernels compute a Euclidean distance from products, |x|^2 - 2 x.y + |y|^2. Features with a large
common part (far from the origin, or nearly parallel) differ in the last digits of these products
alone. Distances do not change when one vector is taken from all features, so that is done first, in
float64, where it matters. Nor does their order when all are multiplied by a power of two, which is
done where products would leave the range of float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch

from xferpipe.ops import inputs, mapped

#: Called with what is being done, steps done and steps in all (0 where nobody knows).
Progress = Callable[[str, int, int], None]
#: Types of features in arrays, in this machine's byte order.
FLOATING = ("float16", "float32", "float64")
DISTANCES = ("euclidean", "cosine")
#: Squared length of the mean, in mean squared distances from it, above which the mean is taken out.
#: Below it, the products lose less than a decimal digit and a half.
_LARGE_MEAN = 16.0
#: Mean squared lengths that are left as they are.
_SMALL, _LARGE = 1e-24, 1e24
_SAMPLE = 1024
_BLOCK_BYTES = 16 << 20
#: What one row taken alone from a mapped file may bring into memory: the system reads around it.
_AROUND_BYTES = 1 << 20


def told(progress: Progress | None, words: str) -> Callable[[int, int], None] | None:
    """Return what an op is to call with steps done and steps in all, or None."""
    return None if progress is None else partial(progress, words)


@dataclass(frozen=True)
class Comparison:
    """Features as the ops take them.

    Attributes:
        query: float (q, d).
        gallery: float (m, d), mapped from disk where it came so.
        distance: What the ops are to compute; it orders the gallery as the wanted distance does.
        wanted: "euclidean" or "cosine", what is reported.
        unit: Features were, or count as, scaled to unit length.
        scale: What features were multiplied by.
    """

    query: torch.Tensor
    gallery: Any
    distance: str
    wanted: str
    unit: bool
    scale: float = 1.0

    def reported(self, distances: torch.Tensor) -> torch.Tensor:
        """Turn distances that the ops computed into those that are reported, of the same order."""
        if self.distance == "cosine":
            return distances if self.wanted == "cosine" else (2 * distances).sqrt()
        # Squared Euclidean; between unit vectors it is twice the cosine distance.
        return distances / 2 if self.wanted == "cosine" else distances.sqrt() / self.scale

    def gallery_rows(self, rows: numpy.ndarray) -> numpy.ndarray | torch.Tensor:
        """Copy some rows of the gallery; of a mapped one, only these are in memory afterwards."""
        return _taken(self.gallery, rows)


@contextmanager
def compared(
    query: Any,
    gallery: Any,
    *,
    distance: str = "euclidean",
    normalised: bool = False,
    progress: Progress | None = None,
) -> Iterator[Comparison]:
    """Make features ready; a mapped gallery is never loaded as a whole.

    Args:
        query: Floating point (q, d): a tensor or an array.
        gallery: Floating point (m, d): a tensor, an array or a memory-mapped array.
        distance: "euclidean" or "cosine".
        normalised: Scale features to unit length first.
        progress: Called where a mapped gallery must be copied.
    Yields:
        The comparison. A shifted copy of a mapped gallery lies in a temporary file until the end.
    Raises:
        ValueError: Shapes or types do not fit, or a row of the queries holds NaN or infinity.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}; allowed: {', '.join(DISTANCES)}")
    query, gallery = _matrix(query, "query"), _matrix(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query has {query.shape[1]} features but gallery has {gallery.shape[1]}: both must "
            "come from one model and layer"
        )
    _check_finite(query)
    unit = normalised or distance == "cosine"
    move = _move(gallery, unit)
    if move is None:
        kind = "cosine" if unit else "euclidean"
        query, source = _tensor(query), query
        mapped.release(source)
        yield Comparison(query, gallery, kind, distance, unit)
        return
    moved_query = torch.from_numpy(move(query))
    mapped.release(query)
    if not mapped.is_mapped(gallery):
        moved = torch.from_numpy(move(gallery))
        yield Comparison(moved_query, moved, "euclidean", distance, unit, move.scale)
        return
    with tempfile.TemporaryDirectory(prefix="xferpipe-") as folder:
        path = Path(folder, "gallery.f32")
        # Written and not mapped for writing: pages that are written to would count as our memory.
        with path.open("wb") as file:
            for first in range(0, len(gallery), _rows(gallery)):
                part = gallery[first : first + _rows(gallery)]
                move(part).tofile(file)
                mapped.release(gallery)
                if progress is not None:
                    progress("moving the gallery", first + len(part), len(gallery))
        moved = numpy.memmap(path, dtype=numpy.float32, mode="r", shape=gallery.shape)
        yield Comparison(moved_query, moved, "euclidean", distance, unit, move.scale)


def _matrix(features: Any, name: str) -> Any:
    """Return a tensor or an array, checked to be a floating-point matrix on the CPU."""
    if isinstance(features, torch.Tensor):
        features = features.detach().cpu()
        floating = features.dtype.is_floating_point
    else:
        features = features if isinstance(features, numpy.ndarray) else numpy.asarray(features)
        floating = features.dtype in FLOATING
    if features.ndim != 2 or not floating:
        raise ValueError(
            f"{name} has shape {tuple(features.shape)} and type {features.dtype}; expected "
            "float16, float32 or float64 (rows, features)"
        )
    return features


def _rows(matrix: Any) -> int:
    return max(1, _BLOCK_BYTES // (8 * max(1, matrix.shape[1])))


def _taken(gallery: Any, rows: numpy.ndarray) -> Any:
    if not mapped.is_mapped(gallery):
        return gallery[rows]
    taken = numpy.empty((len(rows), gallery.shape[1]), dtype=gallery.dtype)
    at_once = _BLOCK_BYTES // max(_AROUND_BYTES, gallery.strides[0]) + 1
    for first in range(0, len(rows), at_once):
        part = slice(first, first + at_once)
        taken[part] = gallery[rows[part]]
        mapped.release(gallery)
    return taken


@dataclass(frozen=True)
class _Move:
    """What is done to all features: unit length where asked, then (x - shift) * scale."""

    unit: bool
    shift: numpy.ndarray
    scale: float

    def __call__(self, features: Any) -> numpy.ndarray:
        """Return float32 (n, d), computed in float64 a block at a time."""
        moved = numpy.empty(features.shape, dtype=numpy.float32)
        for first in range(0, len(features), _rows(features)):
            part = slice(first, first + _rows(features))
            moved[part] = (_scaled(_float64(features[part]), self.unit) - self.shift) * self.scale
        return moved


def _move(gallery: Any, unit: bool) -> _Move | None:
    """Return what must be done to all features, judged by a sample of the gallery."""
    if len(gallery) == 0:
        return None
    # Rows spread evenly over the gallery are near enough: any vector close to the mean will do.
    rows = numpy.linspace(0, len(gallery) - 1, min(len(gallery), _SAMPLE)).astype(numpy.int64)
    sample = _float64(_taken(gallery, rows))
    sample = sample[numpy.isfinite(sample).all(1)]  # others are named where all rows are read
    with numpy.errstate(over="ignore"):
        length = float(numpy.square(sample).sum(1).mean()) if len(sample) else 0.0
    if not 0 < length < numpy.inf:
        return None
    extreme = not _SMALL < length < _LARGE
    shift = _large_mean(_scaled(sample, unit))
    if shift is None and not extreme:
        return None
    scale = 2.0 ** -numpy.round(numpy.log2(length) / 2) if extreme and not unit else 1.0
    return _Move(unit, numpy.zeros(sample.shape[1]) if shift is None else shift, float(scale))


def _large_mean(sample: numpy.ndarray) -> numpy.ndarray | None:
    """Return about the mean of features, float64 (d), where it is large beside the spread."""
    mean = sample.mean(0)
    spread = numpy.square(sample - mean).sum(1).mean()
    if numpy.square(mean).sum() <= _LARGE_MEAN * spread:
        return None
    if spread == 0:
        return mean
    # A round number near the mean: features on a grid, and ties among them, stay exact.
    grid = 2.0 ** numpy.floor(numpy.log2(numpy.sqrt(spread / len(mean))))
    return numpy.round(mean / grid) * grid


def _check_finite(query: Any) -> None:
    finite = numpy.isfinite(query.double().numpy() if isinstance(query, torch.Tensor) else query)
    inputs.require_finite(torch.from_numpy(numpy.where(finite.all(1), 0.0, numpy.nan)), "query")


def _scaled(features: numpy.ndarray, unit: bool) -> numpy.ndarray:
    if not unit:
        return features
    length = numpy.linalg.norm(features, axis=1, keepdims=True)
    return features / numpy.where(length > 0, length, 1)


def _float64(features: Any) -> numpy.ndarray:
    if isinstance(features, torch.Tensor):
        return features.double().numpy()
    return numpy.asarray(features, dtype=numpy.float64)


def _tensor(features: Any) -> torch.Tensor:
    return features if isinstance(features, torch.Tensor) else torch.from_numpy(features.copy())
