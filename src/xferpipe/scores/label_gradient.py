"""Label-gradient correlation (LGC): do gradients group images as the labels do?

LFC's formula with T the Gram matrix of per-image gradients by the last convolution's weights (the
last linear layer of the last block where there is none). What is differentiated is in the variant:
`scalar=ntk_trace | logit_sum | pseudo_label_loss | random_head`. In [-1, 1].

With `sketch=<kind>`, T comes from randomly projected gradients: half of the projected dimensions
give T1, another, independent projection gives T2, and T = (T1 + T2) / 2. Its entries are unbiased;
the score is not, for projection noise adds to |T|_F and pulls it down:

    sketch=<kind>            LFC's formula of T, biased towards 0
    sketch=<kind>,corrected  the same with sqrt(<T1, T2>) for |T|_F (both less their means), for
                             <T1, T2> has no square of noise in it; noise may lift it above 1

Their difference estimates the bias; it needs no knowledge of the sketch's variance, which for a
Kronecker projection depends on the gradients' ranks.

From each exact T also, with Y the one-hot labels (n, c) and gradient descent of step size eta on
the mean squared error from outputs of 0:

    unnormalised    <T, K>, squared gradient units
    first_order     tr(Y^T T Y) / n^2, how fast the loss falls at first
    loss_at=<t>     - tr(Y^T exp(-2 eta T t / n) Y) / n, the negated loss after t steps
    bound           - tr(Y^T T^-1 Y) / n, the negated generalisation bound

Undefined: fewer than two images or classes, no gradients, a constant T; the bound where T has no
inverse; a corrected score where <T1, T2> is not above 0.
Source: Deshpande et al., arXiv 2102.00084, section 3; the bound: Arora et al., ICML 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from xferpipe.scores.gram import correlation_draws, defined_correlation, square
from xferpipe.scores.inputs import Undefined, label_vector, one_hot


def lgc(
    gradient_grams: Mapping[str, Any],
    labels: Any,
    learning_rate: float = 0.01,
    steps: tuple[int, ...] = (1, 10, 100),
) -> dict[str, float | Undefined]:
    """Correlate gradients' Gram matrices with label agreement.

    Args:
        gradient_grams: Gram matrices by variant: float (n, n), or (2, n, n) of two independent
            sketches.
        labels: Class labels, integer (n).
        learning_rate: Step size eta of the linearised loss curve.
        steps: Steps t at which it is evaluated.
    Returns:
        LGC by variant; from exact Gram matrices also the figures that the module lists.
    Raises:
        ValueError: Wrong shapes or label range.
        Undefined: See the module.
    """
    found: dict[str, float | Undefined] = {}
    for variant, gram, dense in _checked(gradient_grams, labels):
        if gram.ndim == 3:
            found[variant] = defined_correlation(gram.mean(axis=0), dense)
            found[f"{variant},corrected"] = defined_correlation(gram, dense)
            continue
        found[variant] = defined_correlation(gram, dense)
        if "sketch=" not in variant:
            value = found[variant]
            for name, figure in _linearised(gram, dense, learning_rate, steps).items():
                # Gradients that tell no two images apart predict nothing about training either.
                found[f"{variant},{name}"] = value if isinstance(value, Undefined) else figure
    return found


def _checked(gradient_grams: Mapping[str, Any], labels: Any):
    if not isinstance(gradient_grams, Mapping) or not gradient_grams:
        raise ValueError(
            f"gradient_grams is a {type(gradient_grams).__name__}; expected Gram matrices (n, n) "
            "by variant: are the arguments in the order (gradient_grams, labels)?"
        )
    images = numpy.shape(next(iter(gradient_grams.values())))[-1:]
    dense = label_vector(labels, images[0] if images else 0, "gradient_grams")
    for variant, gram in gradient_grams.items():
        yield variant, square(gram, len(dense), variant), dense


def _linearised(
    gram: numpy.ndarray, labels: numpy.ndarray, learning_rate: float, steps: tuple[int, ...]
) -> dict[str, float | Undefined]:
    n = len(labels)
    hot = one_hot(labels)
    values, vectors = numpy.linalg.eigh(gram)
    along = ((vectors.T @ hot) ** 2).sum(axis=1)
    floor = n * numpy.finfo(numpy.float64).eps * values[-1]
    agreement = numpy.where(labels[:, None] == labels, 1.0, -1.0)
    found: dict[str, float | Undefined] = {
        "unnormalised": float((gram * agreement).sum()),
        "first_order": float((values * along).sum() / n**2),
        "bound": Undefined("the Gram matrix of the gradients has no inverse"),
    }
    if values[0] > floor:
        found["bound"] = -float((along / values).sum() / n)
    for step in steps:
        left = numpy.exp(-2 * learning_rate * step / n * numpy.maximum(values, 0))
        found[f"loss_at={step}"] = -float((left * along).sum() / n)
    return found


def lgc_draws(
    gradient_grams: Mapping[str, Any], labels: Any, counts: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    """Return LGC of every bootstrap draw by variant; `counts` (b, n)."""
    found = {}
    for variant, gram, dense in _checked(gradient_grams, labels):
        if gram.ndim == 3:
            found[f"{variant},corrected"] = correlation_draws(gram, dense, counts)
            gram = gram.mean(axis=0)
        found[variant] = correlation_draws(gram, dense, counts)
    return found
