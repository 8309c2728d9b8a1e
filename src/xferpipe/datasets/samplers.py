"""Which images make each batch: seeded, and resumable at any step of any epoch.

A sampler is a pure function of (seed, epoch): a killed run goes on with `batches(epoch, start)` at
the step it had reached, with nothing stored but these two numbers. Positions count the training
rows from 0 to n - 1, as in `LabelledRows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice

import numpy

from xferpipe.config.recipes import Recipe
from xferpipe.datasets.checks import DatasetError, listed
from xferpipe.seeding import numpy_generator

#: Share of passes of one identity from which on it is told.
_ALONE = 0.01


class Sampler:
    """Batches of positions; `len()` is the number of steps of an epoch."""

    def __len__(self) -> int:
        raise NotImplementedError

    def batches(self, epoch: int, start: int = 0) -> Iterator[numpy.ndarray]:
        """Yield the batches of an epoch from step `start` on: positions, int64 (b)."""
        return islice(self._epoch(epoch), start, None)

    def _epoch(self, epoch: int) -> Iterator[numpy.ndarray]:
        raise NotImplementedError


class Shuffle(Sampler):
    """Every image once an epoch in a new order; a last batch of one image is left out.

    One image has no variance, which batch normalisation divides by.

    Args:
        n: Number of images.
        batch_size: Images of a batch; the last one is what is left.
        seed: Seed of the run.
        repeats: Repeated augmentation: each image follows itself this many times, and an epoch ends
            after n images all the same (Hoffer et al., CVPR 2020).
    """

    def __init__(self, n: int, batch_size: int, *, seed: int, repeats: int = 1) -> None:
        self._n, self._batch_size, self._seed, self._repeats = n, batch_size, seed, repeats

    def __len__(self) -> int:
        full, rest = divmod(self._n, self._batch_size)
        return full + (rest > 1 or (rest == 1 and full == 0))

    def _epoch(self, epoch: int) -> Iterator[numpy.ndarray]:
        order = numpy_generator(self._seed, "shuffle", epoch).permutation(self._n)
        order = numpy.repeat(order, self._repeats)[: self._n]
        for step in range(len(self)):
            yield order[step * self._batch_size : (step + 1) * self._batch_size]


class Replacement(Sampler):
    """Full batches from however few images: each is drawn at random, with replacement.

    What BiT's `train.py` does where a data set is smaller than its batch. A pass over the images
    has no meaning there; an epoch is as many full batches as the images make, and 50 or more, so
    that a run of 500 steps from 25 images is not validated 500 times.

    Args:
        n: Number of images.
        batch_size: Images of every batch.
        seed: Seed of the run.
    """

    SHORTEST_EPOCH = 50

    def __init__(self, n: int, batch_size: int, *, seed: int) -> None:
        self._n, self._batch_size, self._seed = n, batch_size, seed

    def __len__(self) -> int:
        return max(self._n // self._batch_size, self.SHORTEST_EPOCH)

    def _epoch(self, epoch: int) -> Iterator[numpy.ndarray]:
        generator = numpy_generator(self._seed, "replacement", epoch)
        for _ in range(len(self)):
            yield generator.integers(self._n, size=self._batch_size)


class IdentityBatches(Sampler):
    """P identities with K images each in every batch (PK), for losses that compare images.

    Identities take turns in a shuffled order and so do the images of each, so all are seen about
    equally often; an identity with fewer than K images repeats them. An epoch shows about n images.

    Args:
        labels: Dense identities, int64 (n).
        batch_size: P * K; less where there are fewer than P identities.
        images_per_identity: K.
        seed: Seed of the run.
    Raises:
        DatasetError: There is one identity only, or a batch holds one, so that no image has a
            negative.
    """

    def __init__(
        self, labels: numpy.ndarray, batch_size: int, images_per_identity: int, *, seed: int
    ) -> None:
        self._members = [numpy.flatnonzero(labels == label) for label in numpy.unique(labels)]
        if len(self._members) < 2:
            raise DatasetError(
                f"sampler pk: {len(self._members)} identity in {len(labels)} training images, "
                "expected two or more; check the labels of the data set"
            )
        if batch_size < 2 * images_per_identity:
            raise DatasetError(
                f"sampler pk: batch_size {batch_size} with images_per_identity "
                f"{images_per_identity} makes batches of one identity, in which no image has a "
                f"negative; expected a batch_size of {2 * images_per_identity} or more"
            )
        self._k = images_per_identity
        self._p = min(batch_size // images_per_identity, len(self._members))
        self._steps = max(1, len(labels) // (self._p * self._k))
        self._seed = seed

    def __len__(self) -> int:
        return self._steps

    def _epoch(self, epoch: int) -> Iterator[numpy.ndarray]:
        generator = numpy_generator(self._seed, "pk", epoch)
        identities = _turns(numpy.arange(len(self._members)), generator)
        images = [_turns(members, generator) for members in self._members]
        for _ in range(self._steps):
            batch = []
            for i in _distinct(identities, self._p):
                drawn = _distinct(images[i], min(self._k, len(self._members[i])))
                batch += islice(cycle(drawn), self._k)
            yield numpy.array(batch)


class BalancedDomains(Sampler):
    """The same number of images of every domain in an epoch, with replacement where one is smaller.

    Args:
        domains: Domain of each image, int64 (n).
        images_per_domain: Images of each domain in an epoch.
        batch_size: Images of a batch, all of one domain, as per-domain normalisation needs.
        seed: Seed of the run.
    """

    def __init__(
        self, domains: numpy.ndarray, images_per_domain: int, batch_size: int, *, seed: int
    ) -> None:
        self._members = [numpy.flatnonzero(domains == domain) for domain in numpy.unique(domains)]
        self._each, self._batch_size, self._seed = images_per_domain, batch_size, seed

    def __len__(self) -> int:
        return len(self._members) * len(Shuffle(self._each, self._batch_size, seed=self._seed))

    def _epoch(self, epoch: int) -> Iterator[numpy.ndarray]:
        generator = numpy_generator(self._seed, "domains", epoch)
        steps = len(self) // len(self._members)
        drawn = [
            generator.choice(members, self._each, replace=len(members) < self._each)
            for members in self._members
        ]
        turns = numpy.repeat(numpy.arange(len(self._members)), steps)
        done = [0] * len(self._members)
        for domain in generator.permutation(turns):
            start = done[domain]
            done[domain] += self._batch_size
            yield drawn[domain][start : start + self._batch_size]


def sampler(recipe: Recipe, labels: numpy.ndarray, *, seed: int) -> Sampler:
    """Build the sampler that a recipe names, for training images with these labels (n)."""
    if recipe.sampler == "pk":
        return IdentityBatches(labels, recipe.batch_size, recipe.images_per_identity, seed=seed)
    if recipe.sampler == "replacement":
        return Replacement(len(labels), recipe.batch_size, seed=seed)
    return Shuffle(len(labels), recipe.batch_size, seed=seed, repeats=recipe.ra_reps)


def warnings(
    recipe: Recipe, labels: numpy.ndarray, class_names: tuple[str, ...]
) -> tuple[str, ...]:
    """Say where a loss that compares images will find too few to compare.

    Args:
        recipe: Its loss, sampler and batch size.
        labels: Dense identities of the training images, int64 (n).
        class_names: Names of the labels.
    Returns:
        One sentence for each trouble; empty when there is none.
    """
    found = []
    counts = numpy.bincount(labels, minlength=len(class_names))
    present = numpy.flatnonzero(counts)
    if recipe.sampler == "pk":
        k, p = recipe.images_per_identity, recipe.batch_size // recipe.images_per_identity
        few = [class_names[i] for i in present if counts[i] < k]
        if few:
            found.append(
                f"{len(few)} of {len(present)} identities have fewer than images_per_identity "
                f"({k}) training images and repeat them: {listed(few)}"
            )
        if p > len(present):
            found.append(
                f"batches shrink from {recipe.batch_size} to {len(present) * k} images: there are "
                f"{len(present)} identities, and batch_size / images_per_identity asks for {p}"
            )
    alone = _of_one_identity(recipe, labels) if recipe.compares else 0.0
    if alone > _ALONE:
        found.append(
            f"loss {recipe.loss}: {alone:.0%} of the passes hold images of one identity alone, "
            "where its part that compares images learns nothing; set sampler: pk with a batch_size "
            "(and micro_batch_size, where it is set) of two identities or more"
        )
    if recipe.sampler != "pk" and recipe.has_triplets:
        # Chance that an image finds another of its identity among batch_size - 1 random ones.
        others = (counts[labels] - 1) / max(len(labels) - 1, 1)
        lonely = float(numpy.mean((1 - others) ** (recipe.batch_size - 1)))
        if lonely > 0.05:
            found.append(
                f"a triplet loss with sampler {recipe.sampler}: {lonely:.0%} of the images will "
                "have no positive in their batch and teach nothing there; set sampler: pk"
            )
    return tuple(found)


def _of_one_identity(recipe: Recipe, labels: numpy.ndarray) -> float:
    """Return the share of the passes of an epoch whose images are all of one identity."""
    if len(numpy.unique(labels)) < 2:
        return 1.0
    passes = []
    for batch in sampler(recipe, labels, seed=0).batches(0):
        size = recipe.micro_batch_size or len(batch)
        passes += numpy.split(labels[batch], range(size, len(batch), size))
    return float(numpy.mean([(part == part[0]).all() for part in passes]))


def _turns(values: numpy.ndarray, generator: numpy.random.Generator) -> Iterator[int]:
    """Yield all values in a shuffled order, then all in another, for ever."""
    while True:
        yield from generator.permutation(values).tolist()


def _distinct(turns: Iterator[int], count: int) -> list[int]:
    """Take the next `count` different values; one met twice at a change of round is passed over."""
    taken: dict[int, None] = {}
    while len(taken) < count:
        taken[next(turns)] = None
    return list(taken)
