"""The decision of a race's round: what is known of each candidate, and which runs are next."""

from __future__ import annotations

import polars

from xferpipe.config.race import Race

#: Columns of a decision: those of table `decisions` that do not say which round it is.
COLUMNS = {
    "model": polars.String,
    "recipe": polars.String,
    "mean": polars.Float64,
    "low": polars.Float64,
    "high": polars.Float64,
    "probability_best": polars.Float64,
    "expected_regret": polars.Float64,
    "runs": polars.Int64,
    "seconds": polars.Float64,
    "cost": polars.Float64,
    "first_seed": polars.Int64,
    "chosen": polars.Int64,
    "top": polars.Boolean,
    "named": polars.Boolean,
    "stopped": polars.String,
}


def decide(
    options: Race,
    candidates: polars.DataFrame,
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    zoo: polars.DataFrame,
    history: polars.DataFrame,
    *,
    slots: int,
    seed: int,
) -> polars.DataFrame:
    """Choose the next runs of a race: those of the candidates with the fewest, in their order.

    Args:
        options: The race's rules.
        candidates: Columns model, recipe: the pairs that race.
        runs: One row for each run of a candidate: model, recipe, seed, status, validation (a
            fraction; null if it diverged), images (count of validation images, or null), outcomes
            (List[Float64] per validation image or query, in one order for all runs, or null),
            seconds.
        scores: Rows of table `scores` of this target and shots.
        zoo: Rows of table `zoo` of the candidates' models.
        history: Results of earlier studies; may be empty.
        slots: Most runs to choose.
        seed: Seed of whatever is drawn.
    Returns:
        One row a candidate, in the order of `candidates`, with the columns of `COLUMNS`.
    """
    pairs = ["model", "recipe"]
    known = runs.group_by(pairs).agg(
        mean=polars.col("validation").mean(),
        runs=polars.len().cast(polars.Int64),
        seconds=polars.col("seconds").sum(),
        cost=polars.col("seconds").mean(),
        seeds=polars.col("seed"),
    )
    table = candidates.join(known, on=pairs, how="left", maintain_order="left")
    seeds = [set(used or ()) for used in table["seeds"].to_list()]
    free = [_free_seeds(used, options.seeds) for used in seeds]
    budget, spent = options.budget, runs["seconds"].sum()
    left = slots if budget.runs is None else min(slots, budget.runs - len(runs))
    stopped = None
    if left <= 0 or (budget.hours is not None and spent >= budget.hours * 3600):
        stopped = f"the budget of {budget.words} is spent"
    elif not any(free):
        stopped = f"every pair has had its {options.seeds} runs"
    waiting = [(len(seeds[i]) + n, i) for i in range(len(table)) for n in range(len(free[i]))]
    asked = [] if stopped else [place for _, place in sorted(waiting)[:left]]
    best, unknown = table["mean"].max(), polars.lit(None, polars.Float64)
    return table.select(
        *pairs,
        "mean",
        low=unknown,
        high=unknown,
        probability_best=unknown,
        expected_regret=unknown,
        runs=polars.col("runs").fill_null(0),
        seconds=polars.col("seconds").fill_null(0.0),
        cost=polars.col("cost").fill_null(polars.lit(runs["seconds"].mean(), polars.Float64)),
        first_seed=polars.Series([f[0] if f else len(s) for f, s in zip(free, seeds, strict=True)]),
        chosen=polars.Series([asked.count(i) for i in range(len(table))], dtype=polars.Int64),
        top=(polars.col("mean") >= polars.lit(best) - options.indifference).fill_null(False),
        named=polars.lit(False),
        stopped=polars.lit(stopped, polars.String),
    )


def _free_seeds(used: set[int], most: int) -> range:
    """Return the seeds of the next runs of a pair: one after the other, none of them used."""
    first = next(seed for seed in range(len(used) + 1) if seed not in used)
    end = min([seed for seed in used if seed > first], default=most)
    return range(first, min(end, first + max(0, most - len(used))))
