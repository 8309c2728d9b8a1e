"""What an exported model says of photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import polars
import torch

from xferpipe.datasets import geometry
from xferpipe.datasets.augmentation import preprocess
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode, processors
from xferpipe.datasets.readers.image_folder import EXTENSIONS
from xferpipe.datasets.walk import files_below
from xferpipe.handover.bundle import Bundle, Preprocessing
from xferpipe.training.memory import Pieces
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
    found = sorted(name for name in files_below(place) if name.lower().endswith(EXTENSIONS))
    if not found:
        raise ValueError(f"{place} holds no image ({', '.join(EXTENSIONS)})")
    return [place / name for name in found]


def prepared(images: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Prepare decoded images, uint8 (b, 3, h, w), as in training: float32 (b, 3, px, px)."""
    if how.resize_px is not None:
        images = geometry.resized(images, how.resize_px, how.interpolation)
    if how.crop_px is not None:
        images = geometry.centre_crop(images, how.crop_px)
    return preprocess(images, how)


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
    model, about, pieces = bundle.model.to(device).eval(), bundle.about, Pieces()
    is_classifier, rows = about.task == "classification", []
    for number, (some, images, problems) in enumerate(_decoded(paths, about.preprocessing)):
        progress("predicting", number * BATCH, len(paths))
        found: Iterator[dict[str, object]] = iter(())
        if len(images):
            batch = prepared(images.to(device), about.preprocessing)
            with torch.inference_mode():
                parts = list(pieces.map(lambda part: features_and_logits(model, part), batch))
            features, logits = (torch.cat(part).float().cpu() for part in zip(*parts, strict=True))
            found = _classes(logits, about.class_names) if is_classifier else _features(features)
        for path, problem in zip(some, problems, strict=True):
            row = {"problem": problem} if problem else next(found)
            rows.append({"path": str(path), **row})
    kept = [
        name
        for name in SCHEMA
        if (name != "feature") == is_classifier or name in ("path", "problem")
    ]
    return polars.DataFrame(rows, schema=SCHEMA).select(kept)


def _classes(logits: torch.Tensor, names: Sequence[str]) -> Iterator[dict[str, object]]:
    probabilities = logits.double().softmax(1).float()
    for own in probabilities:
        top = int(own.argmax())
        yield {
            "predicted": names[top],
            "probability": float(own[top]),
            "probabilities": own.tolist(),
        }


def _features(features: torch.Tensor) -> Iterator[dict[str, object]]:
    for own in features:
        yield {"feature": own.tolist()}


def _decoded(
    paths: Sequence[Path], how: Preprocessing
) -> Iterator[tuple[Sequence[Path], torch.Tensor, list[str | None]]]:
    """Yield a few paths, the images of those that can be decoded, and what is wrong with each."""

    def one(path: Path) -> numpy.ndarray | str:
        try:
            return decode(path, how.decoded_px, how.fit)
        except DatasetError as problem:
            return str(problem).removeprefix(f"{path}: ").partition(";")[0]

    with ThreadPoolExecutor(processors()) as pool:
        for first in range(0, len(paths), BATCH):
            some = paths[first : first + BATCH]
            found = list(pool.map(one, some))
            images = [image for image in found if not isinstance(image, str)]
            px = how.decoded_px
            stacked = numpy.stack(images) if images else numpy.empty((0, 3, px, px), numpy.uint8)
            problems = [image if isinstance(image, str) else None for image in found]
            yield some, torch.from_numpy(stacked), problems
