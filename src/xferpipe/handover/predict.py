"""What an exported model says of photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy
import polars
import torch
from torch import nn

from xferpipe.config.augmentation import Augmentation
from xferpipe.datasets.augmentation import preprocess
from xferpipe.datasets.decoding import decode, processors
from xferpipe.datasets.unreadable import UnreadableImage
from xferpipe.datasets.walk import files_below, is_image
from xferpipe.handover.bundle import Bundle, Preprocessing
from xferpipe.training.memory import Pieces
from xferpipe.zoo.build import feature_dimension, outputs_of
from xferpipe.zoo.feature_pass import features_and_logits

BATCH = 64
SCHEMA = {
    "path": polars.String,
    "predicted": polars.String,
    "probability": polars.Float32,
    "probabilities": polars.List(polars.Float32),
    "feature": polars.List(polars.Float32),
    "problem": polars.String,
}


def photographs(place: Path) -> list[Path]:
    """List the images of a folder, with those of folders below it, or the one image that is named.

    Raises:
        FileNotFoundError: There is no such folder or file.
        ValueError: The folder holds no image.
    """
    if place.is_file():
        return [place]
    if not place.exists():
        raise FileNotFoundError(2, "no such folder or image", str(place))
    found = sorted(name for name in files_below(place) if is_image(name))
    if not found:
        raise ValueError(f"{place} holds no image (.jpg, .png, .tif, .webp and others)")
    return [place / name for name in found]


def prepared(images: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Prepare decoded images, uint8 (b, 3, h, w), as in training: float32 (b, 3, px, px)."""
    sizes = Augmentation(
        val_resize_size=how.resize_px, val_crop_size=how.crop_px, interpolation=how.interpolation
    )
    return preprocess(images, how, sizes)


def predict(
    bundle: Bundle,
    paths: Sequence[Path],
    *,
    device: torch.device,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> polars.DataFrame:
    """Classify photographs, or describe them by features where the model is one for retrieval.

    Args:
        bundle: The exported model.
        paths: Photographs.
        device: Where it computes.
        progress: Called with what is done, photographs done and in all.
    Returns:
        One row a photograph, in their order: `path`; of a classifier `predicted` (a class name),
        its `probability` and the `probabilities` of all classes in the order of
        `bundle.about.class_names`; of a model for retrieval `feature`; `problem` where the file
        cannot be decoded, with the rest null.
    """
    about, rows = bundle.about, []
    is_classifier = about.task == "classification"
    for passed in passes(bundle.model, about.preprocessing, paths, device, progress):
        if is_classifier:
            found = _classes(passed.logits, about.class_names)
        else:
            found = ({"feature": own.tolist()} for own in passed.features)
        for path, problem in zip(passed.paths, passed.problems, strict=True):
            known = next(found) if problem is None else {"problem": problem.problem}
            rows.append({"path": str(path), **known})
    left_out = {"feature"} if is_classifier else {"predicted", "probability", "probabilities"}
    kept = [name for name in SCHEMA if name not in left_out]
    return polars.DataFrame(rows, schema=SCHEMA).select(kept)


@dataclass(frozen=True, eq=False)
class Pass:
    """A few photographs through a model.

    Attributes:
        paths: The photographs.
        problems: What is wrong with each, or None.
        features: Of those that could be decoded, float32 (b, d), on the CPU.
        logits: Likewise, float32 (b, c).
    """

    paths: Sequence[Path]
    problems: list[UnreadableImage | None]
    features: torch.Tensor
    logits: torch.Tensor


def passes(
    model: nn.Module,
    how: Preprocessing,
    paths: Sequence[Path],
    device: torch.device,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Iterator[Pass]:
    """Pass photographs through a model, a few at a time.

    Args:
        model: A model of `build_model`.
        how: What becomes of a photograph before.
        paths: Photographs.
        device: Where it computes.
        progress: Called with what is done, photographs done and in all.
    """
    model.to(device).eval()
    pieces, outputs = Pieces(), (feature_dimension(model), outputs_of(model))
    for number, (some, images, problems) in enumerate(_decoded(paths, how)):
        progress("computing", number * BATCH, len(paths))
        parts = [tuple(torch.empty((0, width)) for width in outputs)]
        if len(images):
            batch = prepared(images.to(device), how)
            with torch.inference_mode():
                parts = list(pieces.map(lambda part: features_and_logits(model, part), batch))
        features, logits = (torch.cat(part).float().cpu() for part in zip(*parts, strict=True))
        yield Pass(some, problems, features, logits)


def _classes(logits: torch.Tensor, names: Sequence[str]) -> Iterator[dict[str, object]]:
    probabilities = logits.double().softmax(1).float()
    for own in probabilities:
        top = int(own.argmax())
        yield {
            "predicted": names[top],
            "probability": float(own[top]),
            "probabilities": own.tolist(),
        }


def _decoded(
    paths: Sequence[Path], how: Preprocessing
) -> Iterator[tuple[Sequence[Path], torch.Tensor, list[UnreadableImage | None]]]:
    """Yield a few paths, the images of those that can be decoded, and what is wrong with each."""

    def one(path: Path) -> numpy.ndarray | UnreadableImage:
        try:
            return decode(path, how.decoded_px, how.fit, how.decoding)
        except UnreadableImage as problem:
            return problem

    with ThreadPoolExecutor(processors()) as pool:
        for first in range(0, len(paths), BATCH):
            some = paths[first : first + BATCH]
            found = list(pool.map(one, some))
            images = [image for image in found if isinstance(image, numpy.ndarray)]
            px = how.decoded_px
            stacked = numpy.stack(images) if images else numpy.empty((0, 3, px, px), numpy.uint8)
            problems = [None if isinstance(image, numpy.ndarray) else image for image in found]
            yield some, torch.from_numpy(stacked), problems
