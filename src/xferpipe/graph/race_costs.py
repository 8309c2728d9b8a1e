"""What the races of a study have cost, and what they may cost at most."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from xferpipe.config.race import Decided, Race
from xferpipe.config.study import Study
from xferpipe.graph.stages import STAGES


class RaceState(NamedTuple):
    """Where a race stands.

    Attributes:
        target: Target.
        shots: Training images per class, or `full`.
        round: Number of the open round; of the last one where the race has ended.
        stopped: Why it ended; None while it goes on.
        runs: Runs of its candidates that are done or decided.
        more_runs: Most runs that it may ask for beside those.
        more_hours: Hours of fine-tuning that those may take; None where nothing is known of it.
    """

    target: str
    shots: str
    round: int
    stopped: str | None
    runs: int
    more_runs: int
    more_hours: float | None


def race_states(study: Study, results: Path, run_seconds: float | None) -> list[RaceState]:
    """Return where each race of a study stands.

    Args:
        study: The study, which has followed its races.
        results: Folder of its results.
        run_seconds: Mean seconds of an earlier fine-tune; None where there is none.
    """
    return [
        _state(study, results, *place, race, run_seconds) for place, race in study.races().items()
    ]


def _state(
    study: Study,
    results: Path,
    target: str,
    shots: str,
    race: Race,
    run_seconds: float | None,
) -> RaceState:
    decided = study.decided(target, shots)
    known = STAGES["choose"].observed(study, target, shots, len(decided.rounds))
    number = len(decided.rounds) - (decided.stopped is not None)
    if decided.stopped is not None:
        return RaceState(target, shots, number, decided.stopped, len(known), 0, 0.0)
    seeds = [sum((r.model, r.recipe) == pair for r in known) for pair in race.candidates()]
    more = sum(max(0, race.seeds - runs) for runs in seeds)
    if race.budget.runs is not None:
        more = min(more, max(0, race.budget.runs - len(known)))
    hours = None if run_seconds is None else more * run_seconds / 3600
    if race.budget.seconds is not None:
        spent = _spent(results, target, shots, decided)
        left = max(0.0, race.budget.seconds - spent) / 3600
        # Runs of one round begin together, before the budget is spent.
        over = 0.0 if run_seconds is None else race.slots * run_seconds / 3600
        hours = left if hours is None else min(hours, left + over)
    return RaceState(target, shots, number, None, len(known), more, hours)


def _spent(results: Path, target: str, shots: str, decided: Decided) -> float:
    """Return the seconds of the runs that the last decided round knew of."""
    if not decided.rounds:
        return 0.0
    from xferpipe.records import read_table

    last = (target, shots, str(len(decided.rounds) - 1))
    path = results / STAGES["choose"].path(last, "decision")
    return float(read_table("decisions", path)["seconds"].sum())
