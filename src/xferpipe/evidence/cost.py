"""What one more run of each pair will take, from what earlier runs took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import polars

from xferpipe.evidence.history import EarlierTarget
from xferpipe.evidence.shrinkage import beside_mean, shrunk

#: Deviations of log seconds: of a recipe, of a model beside its size, and of a single run.
_RECIPE, _MODEL, _RUN = 1.0, 0.5, 0.1
#: Expected exponent of the parameter count.
_SIZE, _SIZE_DEVIATION = 0.5, 0.3


def expected_seconds(
    candidates: polars.DataFrame,
    runs: polars.DataFrame,
    zoo: polars.DataFrame,
    earlier: Sequence[EarlierTarget] = (),
) -> numpy.ndarray:
    """Return the expected seconds of one more run of each pair.

    The logarithm of the time is a sum of the target's level, the recipe, the model's size and the
    model itself, with normal priors: closed form. What a recipe takes beside others is first that
    of earlier targets. Without any run the costs are relative.

    Args:
        candidates: Columns model and recipe.
        runs: Columns model, recipe, seconds.
        zoo: Columns model, parameters where known.
        earlier: Earlier targets; may be empty.
    Returns:
        Seconds, float64 (P).
    """
    pairs = candidates.select("model", "recipe").rows()
    size = {}
    if "parameters" in zoo.columns:
        size = dict(zoo.select("model", polars.col("parameters").log()).drop_nulls().rows())
    usual = float(numpy.mean(list(size.values()))) if size else 0.0
    log_size = numpy.array([size.get(model, usual) - usual for model, _ in pairs])
    model = numpy.array([one for one, _ in pairs])
    recipe = numpy.array([one for _, one in pairs])
    usual_recipes = _recipes(recipe.tolist(), earlier)
    deviation = numpy.array([usual_recipes[name][1] for name in recipe])
    covariance = (
        100.0
        + deviation**2 * (recipe[:, None] == recipe)
        + _MODEL**2 * (model[:, None] == model)
        + _SIZE_DEVIATION**2 * numpy.outer(log_size, log_size)
        + 0.2**2 * numpy.eye(len(pairs))
    )
    mean = _SIZE * log_size + numpy.array([usual_recipes[name][0] for name in recipe])
    index = {pair: i for i, pair in enumerate(pairs)}
    timed = [
        (index[m, r], numpy.log(max(seconds, 1e-3)))
        for m, r, seconds in runs.select("model", "recipe", "seconds").drop_nulls().rows()
        if (m, r) in index
    ]
    if timed:
        at, seen = numpy.array([i for i, _ in timed]), numpy.array([value for _, value in timed])
        total = covariance[numpy.ix_(at, at)] + _RUN**2 * numpy.eye(len(at))
        mean = mean + covariance[:, at] @ numpy.linalg.solve(total, seen - mean[at])
    return numpy.exp(mean)


def _recipes(
    names: Sequence[str], earlier: Sequence[EarlierTarget]
) -> dict[str, tuple[float, float]]:
    """Return mean and deviation of each recipe's log seconds, beside those of all."""
    found: dict[str, list[float]] = {}
    for target in earlier:
        logs: dict[str, list[float]] = {}
        for (_, recipe), seconds in target.seconds.items():
            logs.setdefault(recipe, []).append(float(numpy.log(seconds)))
        means = {recipe: float(numpy.mean(values)) for recipe, values in logs.items()}
        if len(means) > 1:
            for recipe, beside in beside_mean(means).items():
                found.setdefault(recipe, []).append(beside)
    result = {}
    for name in dict.fromkeys(names):
        values = found.get(name, [])
        known = numpy.std(values, ddof=1) + 0.2 if len(values) > 2 else _RECIPE
        result[name] = (shrunk(values), float(known))
    return result
