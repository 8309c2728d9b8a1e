"""The run that a target's answer picks: what the page shows the mistakes and the weights of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars

from xferpipe.handover.winner import best_run
from xferpipe.report.evidence import Evidence


@dataclass(frozen=True)
class Picked:
    """What the answer of one target and shots picks.

    Attributes:
        place: Target, with its shots, as it is called on the page.
        pair: The picked row of table `answers`.
        run: Of its finished runs the one that is handed over, a row of table `finetunes`.
    """

    place: str
    pair: dict[str, Any]
    run: dict[str, Any]

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.run["target"]

    @property
    def name(self) -> str:
        """The run in words."""
        return f"{self.run['model']}, {self.run['recipe']}, seed {self.run['seed']}"

    def of(self, rows: polars.DataFrame) -> polars.DataFrame:
        """Return the rows of a table that are of this run."""
        keys = ("target", "shots", "model", "recipe", "seed")
        return rows.filter(**{name: self.run[name] for name in keys})


def picked_runs(evidence: Evidence) -> list[Picked]:
    """Return the picked run of each target and shots, in the page's order.

    A place without an answer, or whose pick has no finished run of this study, has none.
    """
    found = []
    for target, shots in evidence.places():
        here = evidence["answers"].filter("pick", target=target, shots=shots)
        for pair in here.iter_rows(named=True):
            runs = evidence["finetunes"].filter(
                target=target,
                shots=shots,
                model=pair["model"],
                recipe=pair["recipe"],
                status="finished",
            )
            if runs.height:
                found.append(Picked(evidence.label(target, shots), pair, best_run(runs)))
    return found
