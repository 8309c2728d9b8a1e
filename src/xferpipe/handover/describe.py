"""Features of a data set of somebody's own under any model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars
import torch
from torch import nn

from xferpipe.config.decoding import USUAL, Decoding
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.zoo import ZooEntry
from xferpipe.datasets.pixels import Fit
from xferpipe.datasets.unreadable import UnreadableImages
from xferpipe.handover.bundle import CONFIG, Preprocessing, read_bundle
from xferpipe.handover.predict import passes
from xferpipe.zoo.origins import load

#: Columns of a manifest that a file of features keeps where they hold anything.
KEPT = ("path", "split", "label", "class_name", "identity", "camera")


def opened(
    model: str,
    entry: Callable[[str], Mapping[str, Any]],
    *,
    px: int,
    fit: Fit,
    decoding: Decoding = USUAL,
) -> tuple[nn.Module, Preprocessing]:
    """Open a model and say what becomes of a photograph before it sees it.

    Args:
        model: Folder of `xferpipe export`, which says so itself, or the name of a pretrained model.
        entry: Gives the zoo entry of a name.
        px: Side that images are decoded to for a named model.
        fit: How they are brought to a square for it.
        decoding: What files are read as for it.
    Raises:
        ValueError: The name is unknown, or stands for several models.
        WeightsError: The weights are not here, or damaged.
    """
    if (Path(model) / CONFIG).is_file():
        bundle = read_bundle(Path(model))
        return bundle.model, bundle.about.preprocessing
    entries = entry(model)
    if len(entries) != 1:
        raise ValueError(f"{model} stands for {', '.join(entries)}; name one model")
    (content,) = entries.values()
    checked = ZooEntry.model_validate(dict(content))
    spec = ModelSpec.of(checked)
    network, _ = load(checked, spec)
    how = Preprocessing(
        decoding=decoding,
        decoded_px=px,
        fit=fit,
        resize_px=spec.resize_px,
        crop_px=spec.image_px if spec.crop_pct < 1 else None,
        interpolation=spec.interpolation,
        mean=spec.mean,
        std=spec.std,
    )
    return network, how


def described(
    model: nn.Module,
    how: Preprocessing,
    rows: polars.DataFrame,
    root: Path,
    device: torch.device,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> polars.DataFrame:
    """Return the images of a manifest with their features.

    Args:
        model: A model of `build_model`.
        how: What becomes of an image before.
        rows: Rows of table `manifest`, images that are files.
        root: Folder that paths start from.
        device: Where it computes.
        progress: Called with what is done, images done and in all.
    Returns:
        The columns of `KEPT` that hold anything; `feature`, list of float32; `source_probability`,
        likewise, where the model tells classes apart.
    Raises:
        UnreadableImages: Some cannot be decoded; all are tried first.
    """
    paths = [root / path for path in rows["path"]]
    features, probabilities, problems = [], [], []
    for passed in passes(model, how, paths, device, progress):
        problems += [problem for problem in passed.problems if problem is not None]
        features += passed.features.tolist()
        if passed.logits.shape[1] > 1:
            probabilities += passed.logits.double().softmax(1).float().tolist()
    if problems:
        raise UnreadableImages(problems, of=len(paths))
    numbers = polars.List(polars.Float32)
    kept = [name for name in KEPT if name in rows.columns and rows[name].count()]
    found = rows.select(kept).with_columns(polars.Series("feature", features, dtype=numbers))
    if probabilities:
        own = polars.Series("source_probability", probabilities, dtype=numbers)
        found = found.with_columns(own)
    return found
