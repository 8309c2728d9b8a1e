"""The rounds of a race whose runs are all known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy
import polars

from xferpipe.config.race import Race
from xferpipe.evidence.race import decide, measured_pairs
from xferpipe.seeding import stream


class Round(NamedTuple):
    """One round.

    Attributes:
        seen: Runs before it.
        decided: What `decide` made of them.
    """

    seen: polars.DataFrame
    decided: polars.DataFrame

    @property
    def pick(self) -> int | None:
        """The pair to take: that of `race.answer`, the highest mean of those with a figure."""
        measured, mean = measured_pairs(self.decided, self.seen), self.decided["mean"].to_numpy()
        return int(numpy.where(measured, mean, -numpy.inf).argmax()) if measured.any() else None


def rounds(
    race: Race,
    pairs: polars.DataFrame,
    runs: polars.DataFrame,
    scores: polars.DataFrame,
    zoo: polars.DataFrame,
    history: polars.DataFrame,
    *,
    slots: int,
    seed: int,
) -> Iterator[Round]:
    """Run a race to its end; the last round asks for nothing.

    Args:
        race: Its rules.
        pairs: Candidates: model, recipe.
        runs: Every run that it may ask for: model, recipe, seed, and what `decide` reads.
        scores, zoo, history: As for `decide`.
        slots: Runs of a round.
        seed: Seed of the race.
    Yields:
        Its rounds.
    Raises:
        KeyError: It asks for a run that there is not.
    """
    keys = ["model", "recipe", "seed"]
    place = {key: row for row, key in enumerate(runs.select(keys).rows())}
    asked: list[int] = []
    for number in range(runs.height + 1):
        seen = runs[asked]
        decided = decide(
            race,
            pairs,
            seen,
            scores,
            zoo,
            history,
            slots=slots,
            seed=stream(seed, "round", number),
        )
        yield Round(seen, decided)
        wanted = decided.filter(polars.col("chosen") > 0)
        if not wanted.height:
            return
        for model, recipe, first, count in wanted.select(
            "model", "recipe", "first_seed", "chosen"
        ).rows():
            asked += [place[model, recipe, first + k] for k in range(count)]
