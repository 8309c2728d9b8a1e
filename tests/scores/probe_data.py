"""Probe images' features that the tests of scores share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class Made:
    features: numpy.ndarray
    labels: numpy.ndarray
    source_probabilities: numpy.ndarray
    reference_features: numpy.ndarray
    class_means: numpy.ndarray
    class_counts: numpy.ndarray


def made(counts: tuple[int, ...], d: int, seed: int = 0, spread: float = 0.7) -> Made:
    """Draw rectified features of classes with the given numbers of images."""
    r = numpy.random.default_rng(seed)
    labels = r.permutation(numpy.repeat(numpy.arange(len(counts)), counts))
    n = len(labels)
    centres = spread * r.standard_normal((len(counts), d))
    return Made(
        features=numpy.maximum(0.3 + r.standard_normal((n, d)) + centres[labels], 0),
        labels=labels,
        source_probabilities=r.dirichlet(numpy.full(6, 0.5), n),
        reference_features=r.standard_normal((n, 7)) + r.standard_normal((len(counts), 7))[labels],
        class_means=r.standard_normal((5, d)),
        class_counts=numpy.array([4, 30, 7, 12, 1]),
    )


#: Fewer features than images, more, and unbalanced classes.
CASES = {
    "tall": made((14, 15, 16), 9),
    "wide": made((8, 9, 7), 40),
    "unbalanced": made((4, 25, 11, 2), 13, seed=3),
}
