"""What earlier targets teach of a new one: how scores, cards and recipes go with transfer.

Within a target, the models' figures are put on the scale of their own spread, and so is every
score: then targets of all kinds can be compared. Over the targets of the history

    y = X (b + d_source) + e,    b ~ N(0, s_b^2), d_source ~ N(0, s_d^2), e ~ N(0, s_e^2),

with the columns of X the scores. The three deviations are taken from a small grid, weighted by the
likelihood of the history (all of it closed form); b has its posterior mean, and a new target, of a
source not seen before, has coefficients of mean b and covariance cov(b) + s_d^2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy
import polars

from xferpipe.evidence.history import CARD, LOGARITHMIC, EarlierTarget, named_scores
from xferpipe.evidence.shrinkage import shrunk

#: Name of the effect of a model's own figures on earlier targets: a list that knows no target.
STATIC = "earlier_targets"
#: Share of a target's spread that scores may explain where nothing is known of them.
_UNKNOWN_SHARE = 0.5
#: Standardised scores further out than this count as this far.
_CLIP = 2.5


class ModelPrior(NamedTuple):
    """What is thought of the models' figures before any run, in units of their spread.

    Attributes:
        mean: float64 (m).
        covariance: float64 (m, m).
        weight: Probability that this is the prior that applies.
        taught: Whether it is the one in which the history applies.
    """

    mean: numpy.ndarray
    covariance: numpy.ndarray
    weight: float
    taught: bool = False


class RecipePrior(NamedTuple):
    """What is thought of the recipes, in units of the models' spread: mean and variance, (r)."""

    mean: numpy.ndarray
    variance: numpy.ndarray


class PairPrior(NamedTuple):
    """What earlier targets say of pairs beyond their model and recipe.

    Attributes:
        mean: In units of the models' spread, float64 (P); 0 for pairs not seen before.
        left: Share of the variance of such effects that is not known before, float64 (P).
    """

    mean: numpy.ndarray
    left: numpy.ndarray


class Scales(NamedTuple):
    """Means and standard deviations of natural logarithms, over earlier targets.

    Attributes:
        spread: Of the models' figures, as an angle; None where there is no history.
        seeds: Of the noise of seeds, as an angle.
        interaction: Of model x recipe, in units of the spread.
    """

    spread: tuple[float, float] | None
    seeds: tuple[float, float] | None
    interaction: tuple[float, float] | None


def score_values(scores: polars.DataFrame, zoo: polars.DataFrame) -> dict[str, dict[str, float]]:
    """Return every score and card entry: name -> model -> value.

    Args:
        scores: Rows of table `scores` of one target and shots; may be empty.
        zoo: Rows of table `zoo`; may be empty.
    """
    values: dict[str, dict[str, float]] = {}
    if scores.height:
        for model, name, value in named_scores(scores).select("model", "name", "value").rows():
            values.setdefault(name, {})[model] = value
    for name in CARD:
        if name in zoo.columns and name not in values:
            rows = zoo.select("model", name).drop_nulls().rows()
            values[name] = {model: float(value) for model, value in rows}
    return {name: column for name, column in values.items() if column}


def standardised(models: Sequence[str], values: Mapping[str, float], name: str) -> numpy.ndarray:
    """Return a score in units of its spread over the models, float64 (m); 0 where it has none."""
    column = numpy.array([values.get(model, numpy.nan) for model in models], dtype=float)
    if name in LOGARITHMIC:
        column = numpy.log(numpy.maximum(column, 1))
    known = numpy.isfinite(column)
    if known.sum() < 2:
        return numpy.zeros(len(models))
    centred = column - column[known].mean()
    spread = centred[known].std(ddof=1)
    # The rounding of a constant score is no spread.
    if spread <= 1e-9 * max(1.0, numpy.abs(column[known]).max()):
        return numpy.zeros(len(models))
    return numpy.where(known, numpy.clip(centred / spread, -_CLIP, _CLIP), 0.0)


def model_priors(
    models: Sequence[str],
    values: Mapping[str, Mapping[str, float]],
    earlier: Sequence[EarlierTarget],
) -> list[ModelPrior]:
    """Return the priors of the models: one in which the history applies, one in which it does not.

    Args:
        models: Candidates.
        values: Scores of this target: name -> model -> value.
        earlier: Targets of the history.
    Returns:
        One prior, or two whose weights sum to 1.
    """
    names = [name for name in values if numpy.any(standardised(models, values[name], name))]
    design = (
        numpy.stack([standardised(models, values[name], name) for name in names], axis=1)
        if names
        else numpy.zeros((len(models), 0))
    )
    own = _UNKNOWN_SHARE if names else 0.0
    explained = design @ design.T / max(1, len(names))
    identity = numpy.eye(len(models))
    unknown = ModelPrior(numpy.zeros(len(models)), own * explained + (1 - own) * identity, 1.0)
    sources = {target.source for target in earlier}
    if len(sources) < 2:
        return [unknown]
    static = _static(models, earlier)
    if numpy.any(static):
        names, design = [*names, STATIC], numpy.column_stack([design, static])
    if not names:
        return [unknown]
    taught = _Regression(names, earlier)
    widened = taught.distance(values)
    covariance = taught.covariance * widened
    # However long the history, a new target may be of another kind.
    applies = 0.7 * len(sources) / (len(sources) + 2) / widened
    return [
        ModelPrior(
            design @ taught.mean,
            design @ covariance @ design.T + taught.residual**2 * identity,
            applies,
            taught=True,
        ),
        unknown._replace(weight=1 - applies),
    ]


def standing_before(models: Sequence[str], earlier: Sequence[EarlierTarget]) -> dict[str, float]:
    """Return each model's mean standardised figure on earlier targets, drawn to 0 for few.

    Args:
        models: Candidates.
        earlier: Targets of the history.
    Returns:
        Model -> figure, in units of a target's spread; models that were not run are left out.
    """
    found: dict[str, list[float]] = {}
    for target in earlier:
        figures = target.by_model
        for model, value in zip(figures, _unit(figures), strict=True):
            found.setdefault(model, []).append(float(value))
    return {m: shrunk(found[m]) for m in models if m in found}


def _static(models: Sequence[str], earlier: Sequence[EarlierTarget]) -> numpy.ndarray:
    known = standing_before(models, earlier)
    return numpy.array([known.get(model, 0.0) for model in models])


def _unit(figures: Mapping[str, float]) -> numpy.ndarray:
    values = numpy.array(list(figures.values()))
    spread = values.std(ddof=1)
    return (values - values.mean()) / spread if spread > 0 else numpy.zeros(len(values))


class _Regression:
    """Coefficients of standardised scores, from the targets of a history.

    Attributes:
        mean: For a target of a new source, float64 (j).
        covariance: float64 (j, j).
        residual: Standard deviation of what scores do not explain.
    """

    def __init__(self, names: Sequence[str], earlier: Sequence[EarlierTarget]) -> None:
        self.names = list(names)
        self.levels: dict[str, list[float]] = {}
        blocks: dict[str, list[tuple[numpy.ndarray, numpy.ndarray]]] = {}
        for target in earlier:
            others = [one for one in earlier if one.source != target.source]
            figures = target.by_model
            models = list(figures)
            columns = [
                _static(models, others)
                if name == STATIC
                else standardised(models, target.scores.get(name, {}), name)
                for name in names
            ]
            blocks.setdefault(target.source, []).append((numpy.stack(columns, 1), _unit(figures)))
            for name in names:
                if level := _level(target.scores.get(name, {}), name):
                    self.levels.setdefault(name, []).append(level)
        stacked = [
            (numpy.concatenate([x for x, _ in parts]), numpy.concatenate([y for _, y in parts]))
            for parts in blocks.values()
        ]
        self._fit(stacked)

    def _fit(self, sources: list[tuple[numpy.ndarray, numpy.ndarray]]) -> None:
        """Weigh the grid of deviations by the likelihood, and average the coefficients."""
        j = len(self.names)
        grid = list(product((0.1, 0.2, 0.4), (0.05, 0.1, 0.2, 0.4), (0.3, 0.5, 0.7, 0.9)))
        found = []
        for own, between, residual in grid:
            # Sources are independent given b: each adds its evidence about b in weight space.
            precision = numpy.eye(j) / own**2
            weighted, likelihood = numpy.zeros(j), -j * numpy.log(own)
            for x, y in sources:
                inner = x.T @ x / residual**2
                # (s_d^2 X X' + s_e^2 I)^-1 by Woodbury.
                core = numpy.linalg.inv(numpy.eye(j) / between**2 + inner)
                xy = x.T @ y / residual**2
                precision += inner - inner @ core @ inner
                weighted += xy - inner @ core @ xy
                quadratic = y @ y / residual**2 - xy @ core @ xy
                _, logdet = numpy.linalg.slogdet(core)
                likelihood += (
                    -len(y) * numpy.log(residual)
                    - j * numpy.log(between)
                    + (logdet - quadratic) / 2
                )
            covariance = numpy.linalg.inv(precision)
            mean = covariance @ weighted
            _, logdet = numpy.linalg.slogdet(covariance)
            likelihood += (logdet + weighted @ mean) / 2
            found.append((likelihood, mean, covariance + between**2 * numpy.eye(j), residual))
        weight = numpy.exp(numpy.array([one[0] for one in found]) - max(one[0] for one in found))
        weight /= weight.sum()
        self.mean = sum(w * one[1] for w, one in zip(weight, found, strict=True))
        self.covariance = sum(
            w * (one[2] + numpy.outer(one[1] - self.mean, one[1] - self.mean))
            for w, one in zip(weight, found, strict=True)
        )
        self.residual = float(
            numpy.sqrt(sum(w * one[3] ** 2 for w, one in zip(weight, found, strict=True)))
        )

    def distance(self, values: Mapping[str, Mapping[str, float]]) -> float:
        """Return by how much a target unlike the history widens its prior, 1 or more.

        The median over scores of the squared distance of a score's level (mean over models) from
        its levels in the history, in their standard deviations.
        """
        squared = []
        for name, levels in self.levels.items():
            level = _level(values.get(name, {}), name)
            if level is not None and len(levels) > 2 and numpy.std(levels) > 0:
                wide = numpy.var(levels, ddof=1) * (1 + 1 / len(levels))
                squared.append((level - numpy.mean(levels)) ** 2 / wide)
        return max(1.0, float(numpy.median(squared))) if squared else 1.0


def _level(values: Mapping[str, float], name: str) -> float | None:
    if not values:
        return None
    level = float(numpy.mean(list(values.values())))
    return float(numpy.log(max(level, 1.0))) if name in LOGARITHMIC else level


def recipe_prior(recipes: Sequence[str], earlier: Sequence[EarlierTarget]) -> RecipePrior:
    """Return what earlier targets say of recipes, which are known by name.

    Args:
        recipes: Candidates.
        earlier: Targets of the history.
    Returns:
        Mean and variance; of a recipe not seen before 0 and 1.
    """
    found: dict[str, list[float]] = {}
    for target in earlier:
        spread = numpy.std(list(target.by_model.values()), ddof=1)
        names = [name for name in recipes if any(recipe == name for _, recipe in target.pairs)]
        if len(names) < 2 or spread == 0:
            continue
        shared = [m for m in target.models if all((m, name) in target.pairs for name in names)]
        if not shared:
            continue
        level = {name: numpy.mean([target.pairs[m, name] for m in shared]) for name in names}
        middle = numpy.mean(list(level.values()))
        for name in names:
            found.setdefault(name, []).append((level[name] - middle) / spread)
    mean = numpy.array([shrunk(found.get(name, [])) for name in recipes])
    variance = numpy.array(
        [
            numpy.var(found[name], ddof=1) * (1 + 1 / len(found[name])) + 0.05
            if len(found.get(name, [])) > 2
            else 1.0
            for name in recipes
        ]
    )
    return RecipePrior(mean, variance)


def scales(earlier: Sequence[EarlierTarget]) -> Scales:
    """Return how far apart models, seeds and pairs were on earlier targets."""
    spread = [numpy.std(list(target.by_model.values()), ddof=1) for target in earlier]
    seeds = [
        float(numpy.exp(numpy.mean(numpy.log(list(target.seeds.values())))))
        for target in earlier
        if target.seeds
    ]
    return Scales(
        _logarithms(spread), _logarithms(seeds), _logarithms([_interaction(t) for t in earlier])
    )


def pair_prior(pairs: Sequence[tuple[str, str]], earlier: Sequence[EarlierTarget]) -> PairPrior:
    """Return what was the same of pairs on earlier targets, beyond their model and recipe.

    An effect varies between pairs and, of one pair, between image sources. Both variances are
    taken from the history (one-way random effects, by moments), and means are drawn to 0 by them.

    Args:
        pairs: Candidates: model, recipe.
        earlier: Targets of the history.
    """
    by_source: dict[tuple[str, str], dict[str, list[float]]] = {}
    for target in earlier:
        for pair, value in _effects(target).items():
            by_source.setdefault(pair, {}).setdefault(target.source, []).append(value)
    found = {
        pair: numpy.array([numpy.mean(values) for values in sources.values()])
        for pair, sources in by_source.items()
    }
    repeated = [values for values in found.values() if len(values) > 1]
    mean, left = numpy.zeros(len(pairs)), numpy.ones(len(pairs))
    if len(repeated) < 2:
        return PairPrior(mean, left)
    within = float(numpy.mean([values.var(ddof=1) for values in repeated]))
    between = float(numpy.mean([values.mean() ** 2 - within / len(values) for values in repeated]))
    if between <= 0:
        return PairPrior(mean, left)
    for index, pair in enumerate(pairs):
        if pair in found:
            known = between / (between + within / len(found[pair]))
            mean[index] = known * found[pair].mean()
            left[index] = 1 - known * between / (between + within)
    return PairPrior(mean, left)


def _effects(target: EarlierTarget) -> dict[tuple[str, str], float]:
    """Return what model and recipe do not explain, in units of the models' spread.

    Nothing where a pair is missing.
    """
    models, recipes = target.models, list(dict.fromkeys(r for _, r in target.pairs))
    if len(recipes) < 2 or len(target.pairs) < len(models) * len(recipes):
        return {}
    table = numpy.array([[target.pairs[m, r] for r in recipes] for m in models])
    spread = table.mean(1).std(ddof=1)
    if spread == 0:
        return {}
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    names = [(model, recipe) for model in models for recipe in recipes]
    return dict(zip(names, (rest / spread).ravel().tolist(), strict=True))


def _interaction(target: EarlierTarget) -> float:
    """Return the deviation of model x recipe in units of the models' spread; 0 if not there."""
    effects = numpy.array(list(_effects(target).values()))
    if not len(effects):
        return 0.0
    models = len(target.models)
    freedom = (models - 1) * (len(effects) // models - 1)
    return float(numpy.sqrt((effects**2).sum() / freedom))


def _logarithms(values: Sequence[float]) -> tuple[float, float] | None:
    positive = [numpy.log(value) for value in values if value > 0]
    if len(positive) < 3:
        return None
    return float(numpy.mean(positive)), float(max(0.3, numpy.std(positive, ddof=1)))
