"""Races on disk: their decided rounds, from round 0 to the last, or the first that is missing.

A round counts only where its file carries the key that it would get now, made with the rounds
before it, and holds what the job wrote. Files of rounds past the end of a race are never looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from xferpipe.config.race import Decided, Run
from xferpipe.config.study import Study
from xferpipe.graph.graph import JobId
from xferpipe.graph.keys import Keys
from xferpipe.graph.stages import STAGES
from xferpipe.records.stamp import read_stamp

#: What tells that a file is the one that was read: its inode, size and time of change.
_State = tuple[int, int, int]


class _Round(NamedTuple):
    runs: tuple[Run, ...]
    stopped: str | None


class Races:
    """Follows the races of a study: `study.runs()` has what their decided rounds asked for.

    Args:
        keys: Keys of the study; those that follow from rounds are made anew when rounds come.
        results: Folder of the study's results.
    """

    def __init__(self, keys: Keys, results: Path) -> None:
        self._keys, self._results = keys, results
        self._read: dict[tuple[Path, str], tuple[_State, _Round | None]] = {}

    def follow(self) -> set[JobId]:
        """Walk all races, and have the study know what is decided.

        Returns:
            The jobs whose inputs and keys are others than at the last walk.
        """
        study = self._keys.study
        changed: set[JobId] = set()
        for place in study.races():
            before = study.decided(*place)
            changed |= self._walk(*place)
            if study.decided(*place) != before:
                known = self._keys.known()
                changed |= {job for job in known if lies_below_races(job)}
        self._keys.forget(changed)
        return changed

    def _walk(self, target: str, shots: str) -> set[JobId]:
        """Walk one race from its first round; return later rounds than the first that changed."""
        study, before = self._keys.study, self._keys.study.decided(target, shots)
        rounds: list[tuple[Run, ...]] = []
        stopped: str | None = None
        changed: set[JobId] = set()
        while stopped is None:
            number = len(rounds)
            found = self._round(target, shots, number)
            asked = None if found is None else found.runs
            if asked != (before.rounds[number] if number < len(before.rounds) else None):
                changed |= {
                    job for job in self._keys.known() if _is_later(job, target, shots, number)
                }
                self._keys.forget(changed)
            if found is None:
                break
            rounds.append(found.runs)
            stopped = found.stopped
            study.follow(target, shots, Decided(tuple(rounds), stopped))
        study.follow(target, shots, Decided(tuple(rounds), stopped))
        return changed

    def _round(self, target: str, shots: str, number: int) -> _Round | None:
        """Read a round whose earlier rounds are known; None where it is still to be decided."""
        place = (target, shots, str(number))
        path = self._results / STAGES["choose"].path(place, "decision")
        try:
            status = path.stat()
        except OSError:
            return None
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        key = self._keys("choose", *place).key
        known = self._read.get((path, key))
        if known is None or known[0] != state:
            known = state, _read_round(path, key, target, shots)
            self._read[path, key] = known
        return known[1]


def open_rounds(study: Study) -> dict[tuple[str, str], int]:
    """Return the number of the open round of each race that has not ended, by (target, shots)."""
    return {
        place: len(study.decided(*place).rounds)
        for place in study.races()
        if study.decided(*place).stopped is None
    }


def lies_below_races(job: JobId) -> bool:
    """Tell whether a job lies below all rounds of all races."""
    return STAGES[job[0]].follows_races and job[0] != "choose"


def _is_later(job: JobId, target: str, shots: str, number: int) -> bool:
    return job[:3] == ("choose", target, shots) and int(job[3]) > number


def _read_round(path: Path, key: str, target: str, shots: str) -> _Round | None:
    """Read a decision that carries a key and is as its job wrote it; None where it is not."""
    stamp = read_stamp(path)
    if stamp is None or stamp.key != key:
        return None
    # Late: a study without races is planned without reading any table.
    from xferpipe.records import RecordError, read_table

    try:
        rows = read_table("decisions", path, ours=True)
    except RecordError:
        return None
    asked = tuple(
        Run(target, shots, row["model"], row["recipe"], str(row["first_seed"] + i))
        for row in rows.iter_rows(named=True)
        for i in range(row["chosen"])
    )
    return _Round(asked, rows["stopped"][0])
