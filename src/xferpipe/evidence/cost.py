"""What one more run of each pair will take, from what earlier runs took."""

from __future__ import annotations

import numpy
import polars

#: Deviations of log seconds: of a recipe, of a model beside its size, and of a single run.
_RECIPE, _MODEL, _RUN = 1.0, 0.5, 0.1
#: Expected exponent of the parameter count.
_SIZE, _SIZE_DEVIATION = 0.5, 0.3


def expected_seconds(
    candidates: polars.DataFrame, runs: polars.DataFrame, zoo: polars.DataFrame
) -> numpy.ndarray:
    """Return the expected seconds of one more run of each pair.

    The logarithm of the time is a sum of the target's level, the recipe, the model's size and the
    model itself, with normal priors: closed form. Without any run the costs are relative.

    Args:
        candidates: Columns model and recipe.
        runs: Columns model, recipe, seconds.
        zoo: Columns model, parameters where known.
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
    covariance = (
        100.0
        + _RECIPE**2 * (recipe[:, None] == recipe)
        + _MODEL**2 * (model[:, None] == model)
        + _SIZE_DEVIATION**2 * numpy.outer(log_size, log_size)
        + 0.2**2 * numpy.eye(len(pairs))
    )
    mean = _SIZE * log_size
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
