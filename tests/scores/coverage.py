"""How often intervals of scores hold the truth: simulated probes of Gaussian classes.

`python tests/scores/coverage.py 1000` prints the table of docs/scores.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from scipy.special import softmax
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsClassifier

from xferpipe.scores import compute

CLASSIFIERS = ("knn", "linear_probe")


@dataclass(frozen=True)
class Probes:
    """Probes of equally large classes: unit noise around centres `spread` apart in each feature."""

    classes: int
    images: int
    d: int
    spread: float

    @property
    def centres(self) -> numpy.ndarray:
        """The classes' centres, the same in every probe (c, d)."""
        generator = numpy.random.default_rng([self.classes, self.d])
        return self.spread * generator.standard_normal((self.classes, self.d))

    def draw(
        self, generator: numpy.random.Generator, images: int | None = None
    ) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Draw features (n, d) and labels (n), in random order."""
        labels = numpy.repeat(numpy.arange(self.classes), images or self.images)
        labels = generator.permutation(labels)
        noise = generator.standard_normal((len(labels), self.d))
        return self.centres[labels] + noise, labels


#: Shapes and dimensions with no signal and with some.
SETTINGS = [
    Probes(classes, images, d, spread)
    for classes, images in ((5, 25), (20, 5))
    for d, spreads in ((16, (0.0, 0.5)), (128, (0.0, 0.25)))
    for spread in spreads
]


def classified(method: str, features, labels, others) -> numpy.ndarray:
    """Classify other images by scikit-learn's form of the score's classifier."""
    if method == "knn":
        model = KNeighborsClassifier(5, weights="distance", algorithm="brute")
        return model.fit(features, labels).predict(others)
    middle, scale = features.mean(axis=0), features.std(axis=0)
    z, w = (features - middle) / scale, (others - middle) / scale
    # The trace of the Gram matrix over its rank is the mean squared singular value.
    penalties = 10.0 ** numpy.arange(-4, 5) * z.size / min(len(z) - 1, z.shape[1])
    model = RidgeCV(penalties).fit(z, numpy.eye(labels.max() + 1)[labels])
    return model.predict(w).argmax(axis=1)


def scored(method: str, features, labels, draws: int = 0) -> tuple[float, float, float]:
    """Return value, low and high of a score; ten features serve as a source head's logits."""
    table = compute(
        features,
        labels,
        [method],
        softmax(features[:, :10], axis=1),
        bootstrap_samples=draws,
        bootstrap_methods=[method],
    )
    return table.select("value", "low", "high").row(0)


def truth(method: str, probes: Probes, repeats: int) -> float:
    """Return the mean accuracy of new probes' classifiers on other images; or of other scores."""
    generator = numpy.random.default_rng(1)
    found = []
    for _ in range(repeats):
        features, labels = probes.draw(generator)
        if method in CLASSIFIERS:
            others, expected = probes.draw(generator, 1000 // probes.classes)
            found.append((classified(method, features, labels, others) == expected).mean())
        else:
            found.append(scored(method, features, labels)[0])
    return float(numpy.mean(found))


def intervals(method: str, probes: Probes, repeats: int) -> Iterator[tuple[float, float, float]]:
    """Yield value, low and high of the score for new probes."""
    generator = numpy.random.default_rng(2)
    for _ in range(repeats):
        yield scored(method, *probes.draw(generator), draws=200)


def coverage(method: str, probes: Probes, repeats: int, truth_repeats: int) -> dict[str, float]:
    """Return truth, mean value, coverage of 95 % intervals and what they rest on."""
    expected = truth(method, probes, truth_repeats)
    found = numpy.array(list(intervals(method, probes, repeats)))
    value, low, high = found.T
    # An accuracy's variance over that of independent outcomes; other scores have none.
    independent = expected * (1 - expected) / (probes.classes * probes.images)
    return {
        "truth": expected,
        "value": value.mean(),
        "coverage": ((low <= expected) & (expected <= high)).mean(),
        "width": (high - low).mean(),
        "deviation": value.std(),
        "design_effect": value.var() / independent if method in CLASSIFIERS else numpy.nan,
    }


if __name__ == "__main__":
    count = int(sys.argv[1])
    for name in sys.argv[2:] or CLASSIFIERS:
        for setting in SETTINGS:
            row = coverage(name, setting, count, count)
            figures = " ".join(f"{key} {number:.3f}" for key, number in row.items())
            print(name, setting, figures, flush=True)
