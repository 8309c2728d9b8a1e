"""What stands beside the posterior: test figures, and gains over what would be there anyway."""

from __future__ import annotations

from statistics import NormalDist

import numpy
import polars

from xferpipe.evidence.observations import UNKNOWN_IMAGES, angle, fraction

#: Name of the reference of gains where the study names none.
MEDIAN = "median"


def test_split_figures(
    runs: polars.DataFrame, seeds: polars.DataFrame, level: float
) -> polars.DataFrame:
    """Return the test figure of each pair, with an interval over seeds and images.

    The images are shared by the runs of a pair: their noise does not shrink with more seeds.

    Args:
        runs: As `answers.answer_for` takes them.
        seeds: model, recipe, seed_variance: of one run about its pair, as an angle.
        level: Of the intervals.
    Returns:
        model, recipe, test, test_images, test_low, test_high; pairs without a test figure are left
        out.
    """
    mean = (
        runs.filter(polars.col("test").is_not_null())
        .group_by("model", "recipe", maintain_order=True)
        .agg(
            polars.col("test", "effective_images").mean(),
            polars.col("test_images").max().cast(polars.Int64),
            count=polars.len(),
        )
        .join(seeds, on=["model", "recipe"], how="left", maintain_order="left")
    )
    share = mean["test"].to_numpy()
    images = mean["effective_images"].fill_null(UNKNOWN_IMAGES).to_numpy().astype(float)
    centre = angle(share, images)
    reach = NormalDist().inv_cdf((1 + level) / 2) * numpy.sqrt(
        1 / images + (mean["seed_variance"] / mean["count"]).to_numpy()
    )
    return mean.select(
        *("model", "recipe", "test", "test_images"),
        test_low=polars.Series(numpy.minimum(fraction(centre - reach), share)),
        test_high=polars.Series(numpy.maximum(fraction(centre + reach), share)),
    )


def gains(
    known: polars.DataFrame,
    draws: numpy.ndarray,
    zoo: polars.DataFrame,
    reference: str | None,
    level: float,
) -> dict[str, polars.Series | polars.Expr]:
    """Return what each pair is worth beyond random weights and beyond the reference.

    Both are taken at their best pair that was run; differences are of the same draws.

    Args:
        known: Columns model, mean, runs and compared of each pair.
        draws: Figures of the pairs as fractions, float64 (n, P).
        zoo: Columns model and weights.
        reference: Model; None: the median of the compared pairs.
        level: Of the intervals.
    Returns:
        Columns gain_random and gain_reference with their ends, and reference.
    """
    run = (known["runs"] > 0).to_numpy()
    random = set(zoo.filter(polars.col("weights") == "random")["model"])
    if reference is not None:
        pair = _best_of(known, run, {reference})
        base = None if pair is None else draws[:, pair]
    else:
        compared = known["compared"].to_numpy()
        base = numpy.median(draws[:, compared], axis=1) if run.any() else None
    drawn = _best_of(known, run, random)
    return {
        **_difference("gain_random", draws, None if drawn is None else draws[:, drawn], level),
        **_difference("gain_reference", draws, base, level),
        "reference": polars.lit(reference or MEDIAN),
    }


def _best_of(known: polars.DataFrame, run: numpy.ndarray, models: set[str]) -> int | None:
    """Return the pair of some models with the highest mean among those that were run."""
    own = run & known["model"].is_in(list(models)).to_numpy()
    if not own.any():
        return None
    return int(numpy.where(own, known["mean"].to_numpy(), -numpy.inf).argmax())


def _difference(
    name: str, draws: numpy.ndarray, base: numpy.ndarray | None, level: float
) -> dict[str, polars.Series | polars.Expr]:
    names = (name, f"{name}_low", f"{name}_high")
    if base is None:
        return dict.fromkeys(names, polars.lit(None, polars.Float64))
    apart = draws - base[:, None]
    ends = numpy.quantile(apart, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return dict(zip(names, map(polars.Series, (apart.mean(axis=0), *ends)), strict=True))
