"""What scores read, and the checks that every one of them makes first."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy
import polars

from xferpipe.scores.measure import Cost, measured
from xferpipe.scores.spectrum import Spectrum, centred_spectrum


class Undefined(ValueError):
    """A score has no value for this input; the message says why and becomes the row's `reason`."""


@dataclass(frozen=True)
class Inputs:
    """Everything a score may ask for, by the name of its parameter. n images, d features.

    Attributes:
        features: Features before the classifier, float (n, d).
        labels: Class labels, integer (n).
        source_probabilities: Softmax of the source head, fractions (n, z).
        class_means: Mean features of the source's classes under the model, float (s, d).
        class_counts: Images behind each of them, integer (s).
        source_accuracy: Accuracy on the source's test split, a fraction.
        parameters: Parameters of the model without its classifier, a count.
        reference_features: Features of a small network trained on the target, float (n, e).
        gradient_grams: Gram matrices of per-image gradients by option name, float (n, n) each; a
            sketch has two independent ones (2, n, n).
        layer_grams: Gram matrices of further layers' features by layer name, float (n, n) each.
        learning_rate: Step size of the linearised loss curve.
        steps: Steps at which that curve is evaluated.
        minimum_class_images: Classes with fewer images are no part of domain similarity.
        seed: Seed of the scores that draw random numbers.
        costs: What making each shared part took, by its name; filled when a score first asks.
    """

    features: numpy.ndarray
    labels: numpy.ndarray
    source_probabilities: numpy.ndarray | None = None
    class_means: numpy.ndarray | None = None
    class_counts: numpy.ndarray | None = None
    source_accuracy: float | None = None
    parameters: int | None = None
    reference_features: numpy.ndarray | None = None
    gradient_grams: Mapping[str, numpy.ndarray] | None = None
    layer_grams: Mapping[str, numpy.ndarray] | None = None
    learning_rate: float = 0.01
    steps: tuple[int, ...] = (1, 10, 100)
    minimum_class_images: int = 1
    seed: int = 0
    costs: dict[str, Cost] = field(default_factory=dict, compare=False)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The spectrum of the centred features, made once for all scores that read it.

        Raises:
            Undefined: As `checked`.
        """
        with measured() as cost:
            made = centred_spectrum(checked(self.features, self.labels)[0])
        self.costs["spectrum"] = cost
        return made

    def take(self, rows: numpy.ndarray) -> Inputs:
        """Return the inputs of some images alone; a row may be named more than once."""
        changes: dict[str, Any] = {"costs": {}}
        for name in ("features", "labels", "source_probabilities", "reference_features"):
            values = getattr(self, name)
            changes[name] = None if values is None else values[rows]
        for name in ("gradient_grams", "layer_grams"):
            grams = getattr(self, name)
            if grams is not None:
                grid = (..., rows[:, None], rows)
                changes[name] = {key: gram[grid] for key, gram in grams.items()}
        return replace(self, **changes)


#: Why an input that a score needs may be missing.
MISSING = {
    "source_probabilities": "the model has no source head, or its probabilities are not given",
    "class_means": "the zoo entry has no class means of its source",
    "class_counts": "the zoo entry has no class counts of its source",
    "source_accuracy": "the zoo entry has no accuracy on its source",
    "parameters": "the zoo entry has no parameter count",
    "reference_features": "no features of a small network trained on the target were given",
    "gradient_grams": "no gradients were taken (the gradients stage writes them)",
}


def matrix(values: Any, name: str) -> numpy.ndarray:
    """Return `values` as a float64 matrix.

    Raises:
        ValueError: It is no matrix of real numbers.
        Undefined: It holds NaN or infinities.
    """
    array = numpy.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} has shape {array.shape} and type {array.dtype}; expected a matrix of real "
            f"numbers, one row an image: are the arguments in the order (features, labels)?"
        )
    array = array.astype(numpy.float64)
    if not numpy.isfinite(array).all():
        raise Undefined(f"{name} holds NaN or infinity")
    return array


def class_numbers(labels: Any) -> numpy.ndarray:
    """Return labels as an array; names of classes become their numbers in alphabetical order.

    False and true are 0 and 1; integers of more than 64 bits, as databases write them, are taken
    where their values fit.
    """
    if isinstance(labels, polars.Series) and labels.dtype in (polars.Int128, polars.UInt128):
        labels = labels.to_list()  # numpy has no such type
    array = numpy.asarray(labels)
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat):
        array = array.astype(str)
    elif array.dtype.kind == "O" and all(isinstance(label, int) for label in array.flat):
        with suppress(OverflowError):
            array = array.astype(numpy.int64)
    if array.dtype.kind == "b":
        array = array.astype(numpy.int64)
    if array.dtype.kind == "U" and array.ndim == 1:
        return numpy.unique(array, return_inverse=True)[1]
    return array


def label_vector(labels: Any, rows: int, name: str = "features") -> numpy.ndarray:
    """Return `labels` renumbered 0, 1, ... in their order.

    Raises:
        ValueError: No vector of integers from 0 on or of names, or not one for each of `rows`.
        Undefined: Fewer than two images or two classes.
    """
    array = class_numbers(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"labels have shape {array.shape} and type {array.dtype}; expected a vector of "
            f"integers or names: are the arguments in the order ({name}, labels)?"
        )
    if array.size != rows:
        raise ValueError(f"{name} has {rows} rows but there are {array.size} labels; one a row")
    if array.size and array.min() < 0:
        raise ValueError(f"labels hold {array.min()}; expected class numbers from 0 on")
    if rows < 2:
        raise Undefined(f"{rows} probe images; at least 2 are needed")
    values, dense = numpy.unique(array, return_inverse=True)
    if values.size < 2:
        raise Undefined("the probe images are all of one class")
    return dense


def checked(features: Any, labels: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Check features and labels, which every score of features calls first.

    Args:
        features: Real numbers (n, d).
        labels: Integers from 0 on, or names (n).
    Returns:
        The features as float64 (n, d); the labels renumbered 0, 1, ... in their order (n).
    Raises:
        ValueError: Shapes, types or ranges are wrong (swapped arguments are).
        Undefined: Fewer than two images or classes, NaN, or features equal for all images.
    """
    features = matrix(features, "features")
    labels = label_vector(labels, len(features))
    if features.shape[1] == 0 or not (features != features[0]).any():
        raise Undefined("the features are the same for all probe images")
    return features, labels


def probabilities(values: Any, labels: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Check a source head's probabilities and labels.

    Args:
        values: Fractions (n, z) whose rows sum to 1.
        labels: Integers from 0 on (n).
    Returns:
        The probabilities as float64 (n, z); the labels renumbered 0, 1, ... (n).
    Raises:
        ValueError: Shapes, types or ranges are wrong.
        Undefined: Fewer than two images or classes, or NaN.
    """
    values = matrix(values, "source_probabilities")
    labels = label_vector(labels, len(values), "source_probabilities")
    if values.shape[1] == 0 or values.min() < 0 or abs(values.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError(
            "source_probabilities must be at least 0 and sum to 1 in each row; give the softmax of "
            "the source head, not its logits"
        )
    return values, labels


def one_hot(labels: numpy.ndarray) -> numpy.ndarray:
    """Return dense labels (n) as float64 (n, c) of zeros and ones."""
    return numpy.eye(labels.max() + 1)[labels]
