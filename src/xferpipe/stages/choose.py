"""The choose stage: a round of a race, which asks for the next runs or ends the race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars

from xferpipe.config.jobs import ChooseJob
from xferpipe.evidence.history import read_history
from xferpipe.evidence.observed import observed_runs
from xferpipe.evidence.race import decide
from xferpipe.records import empty, read_table, write_table
from xferpipe.seeding import stream


class DecisionError(ValueError):
    """A round was decided against the rules of its race."""


def choose(
    job: ChooseJob,
    *,
    decisions: Sequence[Path],
    runs: Sequence[Path],
    predictions: Sequence[Path],
    queries: Sequence[Path],
    scores: Sequence[Path],
    cards: Sequence[Path],
    history: Mapping[str, Path],
    decision: Path,
) -> None:
    """Decide one round of a race.

    Args:
        job: The resolved slice.
        decisions: Table `decisions` of each earlier round, from round 0 on.
        runs: Table `finetunes` of each run that is known: those of earlier rounds, and those of
            the grids that are of candidates.
        predictions: Table `predictions` of the same runs.
        queries: Table `validation_queries` of the same runs.
        scores: Table `scores` of each candidate's model.
        cards: Table `zoo` of each candidate's model.
        history: Results of earlier studies.
        decision: Written: table `decisions` of this round.
    Raises:
        RecordError: A file is not the table it should be.
        DecisionError: The decision breaks the race's rules.
    """
    race = job.race
    if len(decisions) < job.round:
        raise DecisionError(f"the race ended with round {len(decisions) - 1}; ask for that one")
    candidates = polars.DataFrame(race.candidates(), schema=["model", "recipe"], orient="row")
    seen = observed_runs(
        _all(empty("finetunes"), [read_table("finetunes", path, ours=True) for path in runs]),
        _all(
            empty("predictions"),
            [read_table("predictions", path, ours=True) for path in predictions],
        ),
        _all(
            empty("validation_queries"),
            [read_table("validation_queries", path, ours=True) for path in queries],
        ),
    )
    decided = decide(
        race,
        candidates,
        seen,
        _all(empty("scores"), [read_table("scores", path, ours=True) for path in scores]),
        _all(empty("zoo"), [read_table("zoo", path, ours=True) for path in cards]),
        read_history(history.values()),
        slots=race.slots,
        seed=stream(job.seed, "choose", job.target, job.shots, job.round),
    )
    _check(decided, seen, candidates, race.seeds)
    place = {"target": job.target, "shots": str(job.shots), "round": job.round}
    rows = decided.with_columns(
        polars.lit(value, polars.Int64 if name == "round" else polars.String).alias(name)
        for name, value in place.items()
    )
    write_table("decisions", rows, decision)


def _all(none: polars.DataFrame, tables: list[polars.DataFrame]) -> polars.DataFrame:
    return polars.concat([none, *tables])


def _check(
    decided: polars.DataFrame, seen: polars.DataFrame, candidates: polars.DataFrame, seeds: int
) -> None:
    """A race must come to an end: each round asks for new runs, or is the last one."""
    pairs = ["model", "recipe"]
    if not decided.select(pairs).equals(candidates):
        raise DecisionError("a decision needs one row for each candidate, in their order")
    asked = decided.filter(polars.col("chosen") > 0).select(
        *pairs,
        seed=polars.int_ranges("first_seed", polars.col("first_seed") + polars.col("chosen")),
    )
    new = asked.explode("seed")
    if len(new.join(seen, on=[*pairs, "seed"], how="semi")) or (new["seed"] >= seeds).any():
        raise DecisionError(
            f"a decision asks for a run that is there, or for a seed that is not below {seeds}"
        )
    reasons = decided["stopped"].unique().to_list()
    if len(reasons) != 1 or (reasons[0] is None) == new.is_empty():
        raise DecisionError("a decision asks for runs, or says in every row why the race ends")
