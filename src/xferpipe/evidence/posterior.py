"""How good each model and recipe is on a target, and which is best: one posterior for all answers.

The figure of a pair (model, recipe), as an angle (`observations.py`), is

    theta = level + spread (f_model + g_recipe + h_pair),

where f has the prior of `prior.py` (scores, cards, earlier targets), g that of the recipes and h is
their interaction. A run measures theta with the noise of its seed and of the images, which all runs
share. Given the spread, the noise of seeds and the size of the interaction all this is Gaussian and
closed form; these three run over a grid, weighted by the likelihood of the runs.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy
import polars

from xferpipe.evidence.history import EarlierTarget, earlier_targets
from xferpipe.evidence.merged import Merged, merged
from xferpipe.evidence.observations import Observations, fraction, observe
from xferpipe.evidence.prior import (
    ModelPrior,
    Scales,
    model_priors,
    pair_prior,
    recipe_prior,
    scales,
    score_values,
)
from xferpipe.evidence.seeds import (
    Repeats,
    log_correction,
    moderated,
    recipe_factors,
    typical,
)
from xferpipe.seeding import numpy_generator

#: Mean and deviation of a target's level: next to nothing is assumed.
_LEVEL, _LEVEL_DEVIATION = numpy.pi / 2, 1.0
_SPREADS = (0.01, 0.03, 0.06, 0.1, 0.17, 0.3, 0.5, 0.8)
_SEEDS = (0.005, 0.015, 0.03, 0.06, 0.12, 0.25)
_INTERACTIONS = (0.15, 0.4, 0.8, 1.3)
#: Prior weights of the spreads: zoos whose models hardly differ are rare.
_SPREAD_WEIGHTS = (0.4, 0.7, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
#: Part of the weight of a scale that no history moves.
_UNMOVED = 0.3
#: Grid points of less weight than this, in all, are left out.
_LEFT_OUT = 1e-3
#: Observations that are handled at once: bounds memory.
_ENTRIES = 20_000_000
_LAST = 1e30

SCHEMA = {
    "model": polars.String,
    "recipe": polars.String,
    "mean": polars.Float64,
    "low": polars.Float64,
    "high": polars.Float64,
    "probability_best": polars.Float64,
    "probability_near_best": polars.Float64,
    "expected_regret": polars.Float64,
    "runs": polars.Int64,
    "seconds": polars.Float64,
}


class Belief(NamedTuple):
    """The posterior of P pairs.

    Attributes:
        candidates: The pairs: model, recipe.
        draws: Figures as fractions, float64 (n, P).
        mean: Of theta, as angles, float64 (P).
        covariance: Of theta, as angles, float64 (P, P).
        seed_variance: Of one run about its pair, as angles, float64 (P).
        image_variance: Of one run over redraws of the images, as angles, float64 (P).
        counts: Runs of each pair that say something, int64 (P).
    """

    candidates: polars.DataFrame
    draws: numpy.ndarray
    mean: numpy.ndarray
    covariance: numpy.ndarray
    seed_variance: numpy.ndarray
    image_variance: numpy.ndarray
    counts: numpy.ndarray


def posterior(
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    zoo: polars.DataFrame,
    history: polars.DataFrame,
    *,
    candidates: polars.DataFrame | None = None,
    indifference: float = 0.01,
    level: float = 0.9,
    draws: int = 4000,
    seed: int = 0,
) -> polars.DataFrame:
    """Say how good each model and recipe is, and how likely it is the best.

    Args:
        runs: One row a run: model, recipe, seed, validation (fraction; null where it diverged),
            and, where known, status, images (count), outcomes (List[Float64]: what each validation
            image, or query, counted, in one order for all runs), seconds. May be empty.
        scores: Rows of table `scores` of this target and shots; may be empty.
        zoo: Rows of table `zoo`; may be empty.
        history: Table `history`, of other targets; may be empty.
        candidates: Pairs to be told of, columns model and recipe; None: those that were run.
        indifference: Difference of figures, as a fraction, that does not matter.
        level: Of the intervals.
        draws: Draws behind the probabilities.
        seed: Seed of the draws.
    Returns:
        One row a candidate in their order: mean, low, high (fractions), probability_best,
        probability_near_best (within the indifference of the best), expected_regret (of taking it
        in place of the best, fraction), runs (count), seconds (spent, s).
    Raises:
        ValueError: A validation figure is no fraction.
    """
    if candidates is None:
        candidates = runs.select("model", "recipe").unique(maintain_order=True)
    if candidates.is_empty():
        return polars.DataFrame(schema=SCHEMA)
    held = belief(runs, scores, zoo, earlier_targets(history), candidates, draws=draws, seed=seed)
    return table(held, runs, indifference=indifference, level=level)


def table(
    held: Belief, runs: polars.DataFrame, *, indifference: float, level: float
) -> polars.DataFrame:
    """Put a belief into the columns of `posterior`."""
    seconds = polars.col("seconds") if "seconds" in runs.columns else polars.lit(None)
    spent = runs.group_by("model", "recipe").agg(
        runs=polars.len().cast(polars.Int64), seconds=seconds.cast(polars.Float64).sum()
    )
    everything = numpy.ones(held.candidates.height, dtype=bool)
    return (
        held.candidates.select("model", "recipe")
        .with_columns(**standing(held.draws, everything, indifference=indifference, level=level))
        .join(spent, on=["model", "recipe"], how="left", maintain_order="left")
        .with_columns(polars.col("runs").fill_null(0), polars.col("seconds").fill_null(0.0))
        .select(list(SCHEMA))
    )


def standing(
    draws: numpy.ndarray, compared: numpy.ndarray, *, indifference: float, level: float
) -> dict[str, polars.Series]:
    """Set every pair against the best of the compared ones, and itself.

    Args:
        draws: Figures as fractions, float64 (n, P).
        compared: Pairs among which the best is looked for, bool (P).
        indifference: Difference of figures, as a fraction, that does not matter.
        level: Of the intervals.
    Returns:
        Columns mean to expected_regret of `posterior`.
    """
    best = draws[:, compared].max(axis=1, keepdims=True)
    # Figures at the ends of the scale tie in a draw: each has its part of the first place.
    ties = (draws[:, compared] == best).sum(axis=1, keepdims=True)
    places = numpy.where(compared, ties, ties + 1)
    first = numpy.where(draws > best, 1.0, (draws == best) / places)
    rival = numpy.maximum(best, draws)
    low, high = numpy.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {
        "mean": polars.Series(draws.mean(axis=0)),
        "low": polars.Series(low),
        "high": polars.Series(high),
        "probability_best": polars.Series(first.mean(axis=0)),
        "probability_near_best": polars.Series((draws >= rival - indifference).mean(axis=0)),
        "expected_regret": polars.Series((rival - draws).mean(axis=0)),
    }


def belief(
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    zoo: polars.DataFrame,
    earlier: list[EarlierTarget],
    candidates: polars.DataFrame,
    *,
    draws: int = 4000,
    seed: int = 0,
) -> Belief:
    """Return the posterior of all candidates; arguments as of `posterior`."""
    seen = observe(runs, candidates)
    models = candidates["model"].unique(maintain_order=True).to_list()
    recipes = candidates["recipe"].unique(maintain_order=True).to_list()
    values = score_values(scores, zoo)
    known = scales(earlier)
    shape = _Shape(candidates, models, recipes, earlier)
    points, weights = [], []
    for prior in model_priors(models, values, earlier):
        mean, covariance = shape.models(prior)
        for spread, interaction in product(_SPREADS, _interactions(len(recipes))):
            points.append(
                (
                    _LEVEL + mean * spread,
                    shape.covariance(covariance, spread, interaction, prior.taught),
                )
            )
            weights.append(
                numpy.log(prior.weight)
                + numpy.log(_SPREAD_WEIGHTS[_SPREADS.index(spread)])
                + _log_weight(_SPREADS, spread, known.spread)
                + _log_weight(_INTERACTIONS, interaction, known.interaction)
            )
    noise = _Seeds(shape, seen.repeats, recipes, earlier, known)
    return _mixture(candidates, seen, points, numpy.array(weights), noise, draws, seed)


class _Shape:
    """Turns priors of models and recipes into those of pairs."""

    def __init__(
        self,
        candidates: polars.DataFrame,
        models: list[str],
        recipes: list[str],
        earlier: list[EarlierTarget],
    ) -> None:
        pairs = candidates.select("model", "recipe").rows()
        self.model = numpy.array([models.index(model) for model, _ in pairs], dtype=int)
        recipe = numpy.array([recipes.index(name) for _, name in pairs], dtype=int)
        self.recipe = recipe
        prior = recipe_prior(recipes, earlier)
        several = len(recipes) > 1
        self.recipe_mean = prior.mean[recipe] * several
        same = recipe[:, None] == recipe[None, :]
        self.pairs = pair_prior(pairs, earlier if several else ())
        self.recipe_covariance = same * prior.variance[recipe][:, None] * several

    def models(self, prior: ModelPrior) -> tuple[numpy.ndarray, numpy.ndarray]:
        pairs = numpy.ix_(self.model, self.model)
        mean = prior.mean[self.model] + self.recipe_mean + self.pairs.mean * prior.taught
        return mean, prior.covariance[pairs]

    def covariance(
        self, models: numpy.ndarray, spread: float, interaction: float, taught: bool
    ) -> numpy.ndarray:
        own = interaction**2 * numpy.diag(self.pairs.left if taught else numpy.ones(len(models)))
        return _LEVEL_DEVIATION**2 + spread**2 * (models + self.recipe_covariance + own)


class _Seeds:
    """The noise of seeds at each value of its grid.

    Attributes:
        variance: Of one run about its pair, float64 (values, P).
        weights: Log prior of each value, and what the variances of pairs add, float64 (values).
    """

    def __init__(
        self,
        shape: _Shape,
        repeats: Repeats,
        recipes: list[str],
        earlier: list[EarlierTarget],
        known: Scales,
    ) -> None:
        own = {}
        for index, name in enumerate(recipes):
            some = (shape.recipe == index) & (repeats.freedom > 0)
            if some.any():
                noise = repeats.variance[some] - repeats.images[some]
                least = repeats.step[some].max()
                own[name] = (typical(noise, repeats.freedom[some], least), int(some.sum()))
        factors = recipe_factors(recipes, [target.seeds for target in earlier], own)
        factor = factors[shape.recipe]
        self.variance = numpy.array([moderated(s, factor, repeats) for s in _SEEDS])
        self.weights = numpy.array(
            [
                _log_weight(_SEEDS, s, known.seeds) + log_correction(s, factor, repeats)
                for s in _SEEDS
            ]
        )


def _interactions(recipes: int) -> tuple[float, ...]:
    """With one recipe the interaction is part of the model; the smallest one stands for it."""
    return _INTERACTIONS if recipes > 1 else _INTERACTIONS[:1]


def _log_weight(grid: tuple[float, ...], value: float, known: tuple[float, float] | None) -> float:
    """Return the log prior of a grid point: even, or drawn to what earlier targets had."""
    if known is None:
        return 0.0
    middle, deviation = known
    density = numpy.exp(-0.5 * ((numpy.log(grid) - middle) / deviation) ** 2) + 1e-12
    own = density[grid.index(value)] / density.sum()
    return float(numpy.log(_UNMOVED / len(grid) + (1 - _UNMOVED) * own))


def _mixture(
    candidates: polars.DataFrame,
    seen: Observations,
    points: list[tuple[numpy.ndarray, numpy.ndarray]],
    weights: numpy.ndarray,
    noise: _Seeds,
    draws: int,
    seed: int,
) -> Belief:
    pairs, n = candidates.height, len(seen.value)
    means = merged(seen)
    logs = weights[:, None] + noise.weights + means.log_scatter(noise.variance)
    if n:
        block = max(1, _ENTRIES // (len(means.pair) ** 2 * len(noise.weights)))
        for start in range(0, len(points), block):
            part = slice(start, start + block)
            logs[part] += _log_likelihoods(means, points[part], noise.variance)
    weight = numpy.exp(logs - logs.max()).ravel()
    weight /= weight.sum()
    # Light points are left out, in all no more than a thousandth.
    order = numpy.argsort(-weight, kind="stable")
    kept = order[: int(numpy.searchsorted(weight[order].cumsum(), 1 - _LEFT_OUT)) + 1]
    share = weight[kept] / weight[kept].sum()
    counts = _apportioned(share, draws)
    generator = numpy_generator(seed, "posterior", pairs, n)
    mean, seed_variance = numpy.zeros(pairs), numpy.zeros(pairs)
    second, parts = numpy.zeros((pairs, pairs)), []
    for index, part, count in zip(kept, share, counts, strict=True):
        point, value = divmod(int(index), len(noise.weights))
        own = noise.variance[value]
        middle, covariance = _conditioned(*points[point], means, own)
        mean += part * middle
        second += part * (covariance + numpy.outer(middle, middle))
        seed_variance += part * own
        if count:
            root = _root(covariance)
            parts.append(middle + generator.standard_normal((count, pairs)) @ root.T)
    figures = numpy.concatenate(parts) if parts else numpy.zeros((0, pairs))
    return Belief(
        candidates,
        fraction(figures),
        mean,
        second - numpy.outer(mean, mean),
        seed_variance,
        _image_variance(seen, pairs),
        numpy.bincount(seen.pair, minlength=pairs),
    )


def _log_likelihoods(
    seen: Merged, points: list[tuple[numpy.ndarray, numpy.ndarray]], variance: numpy.ndarray
) -> numpy.ndarray:
    """Return the log likelihood of the means at each point and noise of seeds (points, values).

    `variance` is that of one run about its pair, float64 (values, P).
    """
    taken = numpy.ix_(seen.pair, seen.pair)
    base = numpy.stack([covariance[taken] for _, covariance in points]) + seen.image_noise
    residual = numpy.stack([seen.value - mean[seen.pair] for mean, _ in points])
    n = len(seen.value)
    # Below a covariance its factor is continued by the residuals divided by it: one factorisation
    # gives both. The last entry is larger than any quadratic form.
    table = numpy.full((len(points), len(variance), n + 1, n + 1), _LAST)
    noise = seen.seed_noise(variance)[:, :, None] * numpy.eye(n)
    table[:, :, :n, :n] = base[:, None] + noise
    table[:, :, n, :n] = residual[:, None]
    root = numpy.linalg.cholesky(table)
    white = root[:, :, n, :n]
    logdet = numpy.log(numpy.diagonal(root, axis1=2, axis2=3)[..., :n]).sum(axis=2)
    return -0.5 * (white**2).sum(axis=2) - logdet


def _conditioned(
    mean: numpy.ndarray, covariance: numpy.ndarray, seen: Merged, variance: numpy.ndarray
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return mean and covariance of theta given the runs, whose seeds have a variance (P)."""
    if not len(seen.value):
        return mean, covariance
    taken = covariance[:, seen.pair]
    total = taken[seen.pair] + seen.image_noise + numpy.diag(seen.seed_noise(variance))
    gain = numpy.linalg.solve(total, taken.T).T
    return mean + gain @ (seen.value - mean[seen.pair]), covariance - gain @ taken.T


def _root(covariance: numpy.ndarray) -> numpy.ndarray:
    """Return a square root of a covariance; rounding may have made it slightly indefinite."""
    jitter = 1e-10 * max(1e-6, float(numpy.diag(covariance).max()))
    for _ in range(8):
        try:
            return numpy.linalg.cholesky(covariance + jitter * numpy.eye(len(covariance)))
        except numpy.linalg.LinAlgError:
            jitter *= 100
    values, vectors = numpy.linalg.eigh(covariance)
    return vectors * numpy.sqrt(numpy.maximum(values, 0))


def _apportioned(share: numpy.ndarray, draws: int) -> numpy.ndarray:
    """Divide a count by shares, by the largest remainders."""
    whole = numpy.floor(share * draws).astype(int)
    rest = draws - whole.sum()
    whole[numpy.argsort(-(share * draws - whole), kind="stable")[:rest]] += 1
    return whole


def _image_variance(seen: Observations, pairs: int) -> numpy.ndarray:
    """Return the image noise of a run of each pair; of one not run yet, the median."""
    own = numpy.diag(seen.image_noise)
    usual = float(numpy.median(own)) if len(own) else 0.02
    result = numpy.full(pairs, usual)
    result[seen.pair] = own
    return result
