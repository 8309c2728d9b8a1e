"""What runs measured: figures as angles, and the noise that images put on them.

A share p of n images is held as the angle 2 asin(sqrt(p)), whose variance over redraws of the
images is 1 / n whatever p is. On a scale where it depends on p (a fraction, a logit), figures that
came out low by chance have another weight than those that came out high, and what runs share is
estimated outside of all of them (Peelle's pertinent puzzle).

Runs of one target share their validation images. The noise of the images is therefore correlated
between runs, and most of it cancels in a difference; with outcomes per image it is estimated as the
correlation of these outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy
import polars

from xferpipe.evidence.seeds import Repeats

#: Images taken where a run does not say how many its figure stands on.
UNKNOWN_IMAGES = 200
#: Standard deviation, as an angle, of what a diverged run says: next to nothing but "not good".
_DIVERGED_DEVIATION = 0.3
#: Groups of images that the prior of the image noise counts for.
_PRIOR_GROUPS = 1


class Observations(NamedTuple):
    """Figures of n runs of pairs (model, recipe).

    Attributes:
        pair: Index of each run's pair, int64 (n).
        value: Figure as an angle, float64 (n).
        image_noise: Covariance of the figures over redraws of the images, float64 (n, n).
        images: Images behind each figure, float64 (n).
        alike: Number of each run's group, int64 (n): runs of one pair whose noise of the images is
            the same, with each other and with all other runs.
        repeats: What repeated runs of a pair say of the noise of seeds.
    """

    pair: numpy.ndarray
    value: numpy.ndarray
    image_noise: numpy.ndarray
    images: numpy.ndarray
    alike: numpy.ndarray
    repeats: Repeats


def observe(runs: polars.DataFrame, candidates: polars.DataFrame) -> Observations:
    """Take what runs measured on the validation images.

    A run without a validation figure is left out, but for a diverged one: that counts as chance
    (the lowest figure of all others, or 0.1), held loosely.

    Args:
        runs: One row a run: model, recipe, validation (fraction or null); where known status,
            images (count), outcomes (List[Float64]: per image or query, in one order) and groups
            (List[Int64]: of each outcome; what is of one group is not independent).
        candidates: The pairs: model, recipe.
    Returns:
        The observations, in the order of the runs.
    Raises:
        ValueError: A figure is no fraction.
    """
    index = {pair: i for i, pair in enumerate(candidates.select("model", "recipe").rows())}
    rows = [row for row in runs.iter_rows(named=True) if (row["model"], row["recipe"]) in index]
    for row in rows:
        if row["validation"] is not None and not 0 <= row["validation"] <= 1:
            raise ValueError(
                f"{row['model']} with {row['recipe']} has the validation figure "
                f"{row['validation']}; expected a fraction from 0 to 1, or null where it diverged"
            )
    lowest = chance(row["validation"] for row in rows if row["validation"] is not None)
    kept, diverged = [], []
    for row in rows:
        failed = row["validation"] is None
        if failed and row.get("status") != "diverged":
            continue
        kept.append(row | ({"validation": lowest} if failed else {}))
        diverged.append(failed)
    counts = [_images(row) for row in kept]
    share = numpy.array([row["validation"] for row in kept], dtype=float)
    images = numpy.array(counts, dtype=float)
    noise = _image_covariance(kept, images)
    pair = numpy.array([index[row["model"], row["recipe"]] for row in kept], dtype=numpy.int64)
    kinds = zip(pair.tolist(), diverged, counts, map(_outcome_count, kept), strict=True)
    groups: dict[tuple[int, bool, int, int], int] = {}
    alike = numpy.array([groups.setdefault(k, len(groups)) for k in kinds], dtype=numpy.int64)
    value = angle(share, images)
    some = ~numpy.array(diverged, dtype=bool)
    repeats = Repeats.of(
        len(index), pair[some], value[some], noise[numpy.ix_(some, some)], images[some]
    )
    noise[numpy.diag_indices_from(noise)] += _DIVERGED_DEVIATION**2 * ~some
    return Observations(pair, value, noise, images, alike, repeats)


def chance(figures: Iterable[float]) -> float:
    """Return the figure that a diverged run counts as: the lowest of all others, or 0.1."""
    return min([0.1, *figures])


def angle(share: numpy.ndarray, images: numpy.ndarray) -> numpy.ndarray:
    """Return shares of so many images as angles; 3/8 of an image more on each side (Anscombe)."""
    return 2 * numpy.arcsin(numpy.sqrt((share * images + 0.375) / (images + 0.75)))


def fraction(angles: numpy.ndarray) -> numpy.ndarray:
    """Return the fractions that angles stand for; beyond 0 and pi there are none."""
    return numpy.sin(numpy.clip(angles, 0, numpy.pi) / 2) ** 2


def _outcome_count(row: dict) -> int:
    outcomes = row.get("outcomes")
    return 0 if outcomes is None else len(outcomes)


def _images(row: dict) -> int:
    outcomes = _outcome_count(row)
    return outcomes if outcomes > 1 else int(row.get("images") or UNKNOWN_IMAGES)


def noise_ratio(
    squares: numpy.ndarray | polars.Expr, groups: int | polars.Expr
) -> numpy.ndarray | polars.Expr:
    """Return the variance of a figure over that of one answer right or wrong, held with care.

    Queries of one identity come out alike, so that the variance is estimated from identities. Few
    of them say little of it: beside it stands, as if estimated from `_PRIOR_GROUPS` identities,
    what it were if each were one answer right or wrong.

    Args:
        squares: Sum over groups of the square of what a group's images add to the figure beyond
            their part, as a share of p (1 - p).
        groups: How many groups of images are independent; each image may be one of its own.
    """
    # The groups' own estimate, squares * groups / (groups - 1), stands for groups - 1 of them.
    return (_PRIOR_GROUPS / groups + groups * squares) / (_PRIOR_GROUPS + groups - 1)


def _image_covariance(rows: list[dict], images: numpy.ndarray) -> numpy.ndarray:
    """Return the covariance of the figures over redraws of the images (n, n).

    The correlation of two runs' outcomes is taken as the mean of its kind: runs of one pair (by its
    recipe), of one model, of two models. A covariance estimated entry by entry has as many entries
    as there are images, and whatever combination of runs happens to vary least would be believed
    too much.
    """
    variance = 1 / images
    lengths = [_outcome_count(row) for row in rows]
    correlation = numpy.eye(len(rows))
    for length in set(lengths) - {0, 1}:
        members = numpy.flatnonzero(numpy.array(lengths) == length)
        outcomes = numpy.array([rows[i]["outcomes"] for i in members], dtype=float)
        share = outcomes.mean(axis=1)
        off, groups = _by_group(outcomes - share[:, None], rows[members[0]].get("groups"))
        # One ratio for all runs: graded outcomes vary less than right and wrong, those weighted by
        # class more.
        binary = max(1e-12, (share * (1 - share)).sum())
        own = (off**2).sum() / length**2 / binary
        if groups < length:
            variance[members] = noise_ratio(own, groups)
        elif own:
            variance[members] = own
        unit = off / numpy.maximum(numpy.linalg.norm(off, axis=1, keepdims=True), 1e-12)
        alike = unit @ unit.T * (groups - 1) / (_PRIOR_GROUPS + groups - 1)
        correlation[numpy.ix_(members, members)] = _by_kind(alike, [rows[i] for i in members])
    deviation = numpy.sqrt(variance)
    return deviation[:, None] * correlation * deviation[None, :]


def _by_group(off: numpy.ndarray, groups: list[int] | None) -> tuple[numpy.ndarray, int]:
    """Add up deviations (runs, images) within groups of images; without groups, leave them."""
    if groups is None:
        return off, off.shape[1]
    names, index = numpy.unique(groups, return_inverse=True)
    return off @ numpy.eye(len(names))[index], len(names)


def _by_kind(correlation: numpy.ndarray, rows: list[dict]) -> numpy.ndarray:
    """Replace correlations (n, n) by the mean of their kind; nested kinds keep it a covariance."""
    model = numpy.array([row["model"] for row in rows])
    recipe = numpy.array([row["recipe"] for row in rows])
    of_model = model[:, None] == model[None, :]
    of_recipe = recipe[:, None] == recipe[None, :]
    itself = numpy.eye(len(rows), dtype=bool)
    of_pair = of_model & of_recipe & ~itself
    result = numpy.zeros_like(correlation)
    least = 0.0
    for kind in (~of_model, of_model & ~of_recipe):
        if kind.any():
            least = _between(least, correlation[kind])
        result[kind] = least
    # Runs of a head are all but one run; those of whole networks are not.
    for name in numpy.unique(recipe):
        kind = of_pair & (recipe == name)
        if kind.any():
            result[kind] = _between(least, correlation[kind])
    result[itself] = 1.0
    return result


def _between(least: float, correlations: numpy.ndarray) -> float:
    return min(0.999, max(least, float(correlations.mean())))
