"""What the stages that train share."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from xferpipe.config.jobs import FinetuneJob, PretrainJob
from xferpipe.config.recipes import Recipe
from xferpipe.datasets import samplers
from xferpipe.datasets.splits import LabelledRows
from xferpipe.training.checkpoint import Checkpoint, identity_of
from xferpipe.training.evaluate import Judge, embed, evaluate
from xferpipe.training.labelled import LabelledFeatures, LabelledImages
from xferpipe.training.loop import Fit, Watcher, fit
from xferpipe.training.remembering import remember
from xferpipe.training.resolve import resolve
from xferpipe.zoo.anatomy import Anatomy
from xferpipe.zoo.build import classifier_of
from xferpipe.zoo.updates import merge

_logger = logging.getLogger(__name__)


def resolved(recipe: Recipe, rows: LabelledRows, image_px: int) -> Recipe:
    """Return the recipe for a data set, and warn of what its loss and sampler will not find."""
    if recipe.evaluates:
        return recipe
    for warning in samplers.warnings(recipe, rows.labels, rows.class_names):
        _logger.warning("%s", warning)
    return resolve(recipe, images=len(rows), image_px=image_px)


def train(
    job: FinetuneJob | PretrainJob,
    model: nn.Module,
    recipe: Recipe,
    images: LabelledImages,
    validation: LabelledImages | None,
    *,
    checkpoint: Checkpoint,
    name: str,
    watcher: Watcher | None = None,
    judge: Judge = evaluate,
    judged_by: str = "accuracy",
) -> Fit:
    """Run the loop for a job and merge what the recipe added to the weights.

    Where the recipe is k-NN there is no loop: the training images are remembered.
    """
    if recipe.evaluates:
        model.eval()
        return Fit(validation=judge(model, validation) if validation else None)
    if recipe.remembers:
        return remember(model, images, validation, judge)
    options = {"seed": job.seed, "name": name, "checkpoint": checkpoint, "watcher": watcher}
    options |= {"judge": judge, "judged_by": judged_by}
    if recipe.cache_features:
        head, parts = _probe(model, images, validation)
        result = fit(head, recipe, *parts, **options)
    else:
        result = fit(model, recipe, images, validation, **options)
    merge(model)
    return result


def checkpoint_of(job: FinetuneJob | PretrainJob, path: Path) -> Checkpoint:
    """Return the checkpoint of a job."""
    return Checkpoint(path, identity_of(job))


def _probe(
    model: nn.Module, images: LabelledImages, validation: LabelledImages | None
) -> tuple[nn.Module, list[LabelledFeatures | None]]:
    """Return the classifier as a model of its own, sharing its weights, and its data."""
    head = nn.Sequential()
    classifier = classifier_of(model)
    if isinstance(classifier, nn.Conv2d):
        # BiT's kind: a 1x1 convolution of maps of one position, which features are not.
        head.add_module("maps", nn.Unflatten(1, (classifier.in_channels, 1, 1)))
        head.add_module("classifier", classifier)
        head.add_module("logits", nn.Flatten(1))
    else:
        head.add_module("classifier", classifier)
    head.anatomy = Anatomy("classifier", "classifier", "", "", "", "", "classifier", ())
    parts: list[LabelledFeatures | None] = []
    for split in (images, validation):
        if split is None:
            parts.append(None)
            continue
        features, _ = embed(model, split)
        parts.append(LabelledFeatures(features.to(split.device), split.labels))
    return head, parts
