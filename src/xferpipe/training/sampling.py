"""Which images make up each step: a pure function of recipe, seed and epoch."""

from __future__ import annotations

import numpy

from xferpipe.config.recipes import Recipe
from xferpipe.seeding import numpy_generator


def batches(recipe: Recipe, labels: numpy.ndarray, seed: int, epoch: int) -> list[numpy.ndarray]:
    """Return the positions of each step of an epoch.

    Args:
        recipe: Names the sampler and the batch size.
        labels: Labels of the training images, int64 (n).
        seed: Seed of the run.
        epoch: Epoch, 0-based.
    Returns:
        One array of positions for each step. A last batch of a single image, which batch norm
        cannot normalise, joins the one before.
    """
    if recipe.sampler == "pk":
        from xferpipe.datasets.samplers import pk_batches

        return pk_batches(
            labels,
            batch_size=recipe.batch_size,
            images_per_identity=recipe.images_per_identity,
            generator=numpy_generator(seed, "sampler", epoch),
        )
    order = numpy_generator(seed, "shuffle", epoch).permutation(len(labels))
    cuts = list(range(recipe.batch_size, len(order), recipe.batch_size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return numpy.split(order, cuts)
