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
    seconds = runs["seconds"].mean() if len(runs) else None
    known = runs.group_by(pairs).agg(
        mean=polars.col("validation").mean(),
        runs=polars.len().cast(polars.Int64),
        seconds=polars.col("seconds").sum(),
        cost=polars.col("seconds").mean(),
        seeds=polars.col("seed"),
    )
    table = candidates.join(known, on=pairs, how="left", maintain_order="left").with_columns(
        polars.col("runs").fill_null(0),
        polars.col("seconds").fill_null(0.0),
        polars.col("cost").fill_null(seconds),
        first_seed=polars.col("seeds").map_elements(
            lambda used: next(seed for seed in range(len(used) + 1) if seed not in used),
            return_dtype=polars.Int64,
        ),
    )
    best = table["mean"].max()
    open_runs = [
        (run, place)
        for place, used in enumerate(table["seeds"])
        for run in range(len(() if used is None else used), options.seeds)
    ]
    budget = options.budget
    left = slots if budget.runs is None else min(slots, budget.runs - len(runs))
    stopped = None
    if left <= 0 or (budget.hours is not None and table["seconds"].sum() >= budget.hours * 3600):
        stopped = f"the budget of {budget.words} is spent"
    elif not open_runs:
        stopped = f"every pair has as many runs as seeds allow, {options.seeds}"
    chosen = [0] * len(table)
    for _, place in [] if stopped else sorted(open_runs)[:left]:
        chosen[place] += 1
    unknown = polars.lit(None, polars.Float64)
    return table.select(
        *pairs,
        "mean",
        low=unknown,
        high=unknown,
        probability_best=unknown,
        expected_regret=unknown,
        runs="runs",
        seconds="seconds",
        cost="cost",
        first_seed=polars.col("first_seed").fill_null(0),
        chosen=polars.Series(chosen, dtype=polars.Int64),
        top=(polars.col("mean") >= best - options.indifference).fill_null(False)
        if best is not None
        else polars.lit(False),
        named=polars.lit(False),
        stopped=polars.lit(stopped, polars.String),
    )
