"""Table `partial_correlations`: scores and transfer, the accuracy on the source held fixed.

A solution that is flatter because it was trained better would otherwise seem to transfer because it
is flat.
"""

from __future__ import annotations

import numpy
import polars

from xferpipe.aggregate.intervals import information, interval
from xferpipe.config.study import Selection
from xferpipe.records import frame

#: What is held fixed.
GIVEN = "source_accuracy"
#: With fewer models, three ranks leave nothing to correlate.
MINIMUM_MODELS = 4

_PLACE = ["target", "shots", "recipe", "metric"]


def partial_correlations(
    selection: Selection, scores: polars.DataFrame, judged: polars.DataFrame, zoo: polars.DataFrame
) -> polars.DataFrame:
    """Correlate every score and property with transfer, the accuracy on the source held fixed.

    Args:
        selection: Level of the intervals.
        scores: Table `scores`, properties included.
        judged: Rows of `by_model`: target, shots, recipe, metric, model, value.
        zoo: Table `zoo`.
    Returns:
        Table `partial_correlations`.
    """
    given = dict(zoo.select("model", GIVEN).iter_rows())
    rows = []
    for place, group in judged.group_by(_PLACE, maintain_order=True):
        names = dict(zip(_PLACE, place, strict=True))
        metric = dict(group.select("model", "value").iter_rows())
        own = scores.filter(target=names["target"], shots=names["shots"])
        own = own.filter(polars.col("value").is_finite(), polars.col("method") != GIVEN)
        for (method, variant), part in own.group_by("method", "variant", maintain_order=True):
            figures = [
                (value, metric[model], given[model])
                for model, value in part.select("model", "value").iter_rows()
                if model in metric and given.get(model) is not None
            ]
            rows.append(
                names
                | {"method": method, "variant": variant, "given": GIVEN, "models": len(figures)}
                | _partial(numpy.array(figures).reshape(-1, 3), selection.confidence)
            )
    return frame("partial_correlations", rows)


def _partial(figures: numpy.ndarray, confidence: float) -> dict[str, float | str | None]:
    """Return the correlations of one score; `figures` are score, metric and given, (m, 3)."""
    if len(figures) < MINIMUM_MODELS:
        return {"reason": f"{len(figures)} models with all figures; at least {MINIMUM_MODELS}"}
    plain, partial = partial_spearman(figures[None])
    if not numpy.isfinite(plain[0]):
        return {"reason": "the score or the metric is the same for all models"}
    row: dict[str, float | str | None] = {"spearman": float(plain[0])}
    if not numpy.isfinite(partial[0]):
        return row | {"reason": f"{GIVEN} is the same for all models, or orders them alike"}
    row["partial"] = float(partial[0])
    # What is held fixed takes the place of one model.
    left = information(*figures.T)
    row["low"], row["high"] = interval(
        "spearman", float(partial[0]), len(figures) - 1, confidence, information=left
    )
    return row


def partial_spearman(figures: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Correlate the ranks of two figures, and again with the ranks of a third held fixed.

    Args:
        figures: float (b, m, 3): of each draw and model the two figures and the fixed one.
    Returns:
        Spearman's correlations (b), partial correlations (b); NaN where undefined.
    Source:
        Kendall, Biometrika 32, 1942: (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)).
    """
    from scipy.stats import rankdata

    ranks = rankdata(figures, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    inner = numpy.einsum("bmi,bmj->bij", ranks, ranks)
    size = numpy.sqrt(numpy.einsum("bii->bi", inner))
    with numpy.errstate(invalid="ignore", divide="ignore"):
        correlation = inner / (size[:, :, None] * size[:, None, :])
        xy, xz, yz = correlation[:, 0, 1], correlation[:, 0, 2], correlation[:, 1, 2]
        # What the fixed ranks leave of the others; rounding leaves dust where that is nothing.
        left = (1 - xz**2) * (1 - yz**2)
        partial = numpy.where(left > 1e-12, (xy - xz * yz) / numpy.sqrt(left), numpy.nan)
    return xy, partial
