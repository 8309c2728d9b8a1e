"""Baselines that no score may lose to: what is known of a model without looking at the target.

    source_accuracy   accuracy on the source's test split, a fraction
    parameters        parameters without the classifier, a count
    random            no value for one model: aggregation compares with the closed form over all
                      orders, E[best of k of M] = sum_j a_(j) C(j-1, k-1) / C(M, k), a ascending

Undefined: the zoo entry does not have the number; `random` always.
Source: each is the usual default of people who choose a model by hand.
"""

from __future__ import annotations

from xferpipe.scores.inputs import Undefined


def source_accuracy(source_accuracy: float) -> float:
    """Return the model's accuracy on its own source, a fraction.

    Raises:
        ValueError: It is no fraction.
    """
    if not 0 <= source_accuracy <= 1:
        raise ValueError(f"source_accuracy is {source_accuracy}; expected a fraction in [0, 1]")
    return float(source_accuracy)


def parameters(parameters: int) -> float:
    """Return the number of the model's parameters.

    Raises:
        ValueError: It is negative.
    """
    if parameters < 0:
        raise ValueError(f"parameters is {parameters}; expected a count")
    return float(parameters)


def random() -> float:
    """Explain that a random order is no score of one model.

    Raises:
        Undefined: Always.
    """
    raise Undefined("random is a closed form over all models; aggregation computes it")
