"""Seeded draws among images: inside one class each, or of whole identities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy

from xferpipe.datasets.checks import DatasetError
from xferpipe.seeding import numpy_generator

#: Identities held out at least, so that there is a wrong answer, and left at least to train on.
_LEAST = 2


def held_out_images(
    names: Sequence[str], keys: Sequence[str | int], fraction: float, seed: int, purpose: str
) -> numpy.ndarray:
    """Mark a stratified part: at least one image of each class that has two, never all of one.

    The draw depends on the sorted keys of a class alone, not on the order of the rows.
    """
    mask = numpy.zeros(len(names), dtype=bool)
    for name, members in _members(names).items():
        ordered = sorted(members, key=lambda i: keys[i])
        count = round(len(ordered) * fraction)
        count = min(max(count, 1), len(ordered) - 1)
        chosen = numpy_generator(seed, purpose, name).permutation(len(ordered))[:count]
        mask[[ordered[i] for i in chosen]] = True
    return mask


def held_out_identities(
    names: Sequence[str], fraction: float, seed: int, *, where: str
) -> numpy.ndarray:
    """Mark all images of some identities: a fraction of them, two at least.

    An identity's place in the order comes from its own stream, so that few others change sides when
    identities come or go. One with a single image stays in training: nothing could be found for it.

    Args:
        names: Identity of each image (n).
        fraction: Part of the identities to hold out.
        seed: Seed of the draw.
        where: Name of the set for the message.
    Returns:
        Mask, bool (n).
    Raises:
        DatasetError: There are fewer than four identities, or than two with two images.
    """
    images = Counter(names)
    several = [name for name, count in images.items() if count > 1]
    if len(images) < 2 * _LEAST or len(several) < _LEAST:
        raise DatasetError(
            f"{where}: mAP is validated on held-out identities, {_LEAST} or more with 2 images or "
            f"more each, and {_LEAST} or more must be left to train on; the training split has "
            f"{len(images)} identities, {len(several)} of them with 2 images or more: add some"
        )
    count = min(max(round(len(images) * fraction), _LEAST), len(images) - _LEAST, len(several))
    place = {name: numpy_generator(seed, "held_out_identities", name).random() for name in several}
    chosen = set(sorted(several, key=lambda name: (place[name], name))[:count])
    return numpy.array([name in chosen for name in names], dtype=bool)


def first_of_group(
    names: Sequence[str], count: int, seed: int, *purpose: str | int
) -> numpy.ndarray:
    """Mark the first `count` of a seeded order of each group: a smaller count gives a subset."""
    mask = numpy.zeros(len(names), dtype=bool)
    for name, members in _members(names).items():
        order = numpy_generator(seed, *purpose, name).permutation(len(members))
        mask[[members[i] for i in order[:count]]] = True
    return mask


def _members(names: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(name, []).append(i)
    return members
