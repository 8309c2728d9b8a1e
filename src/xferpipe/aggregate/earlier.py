"""What other targets say of one: history files, and the study's own targets of other data sets."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import polars

from xferpipe.aggregate.gather import table_of
from xferpipe.evidence.compiled import history_of
from xferpipe.evidence.history import EarlierTarget, earlier_targets, read_history
from xferpipe.evidence.prior import STATIC, standing_before
from xferpipe.records import frame


class Earlier:
    """Earlier targets, as each target of a study may know them.

    Args:
        folder: Folder of the gathered tables.
        study: Name of the study; rows of history files that are of it are left out.
        history: Files of table `history`.
    Raises:
        HistoryError: A history is of another form.
        RecordError: A history is no such table.
    """

    def __init__(self, folder: Path, study: str, history: Iterable[Path]) -> None:
        targets = table_of("targets", folder).select("target", "dataset").collect()
        self._datasets = dict(targets.rows())
        self._past = read_history(history).filter(polars.col("study") != study)
        self._ours = history_of(folder, study, self._datasets)
        self._of_dataset = cache(self._without)

    def of(self, target: str) -> list[EarlierTarget]:
        """Return the earlier targets of one: none of its own data set."""
        return self._of_dataset(self._datasets.get(target, target))

    def _without(self, dataset: str) -> list[EarlierTarget]:
        others = self._ours.filter(polars.col("source") != dataset)
        return earlier_targets(polars.concat([self._past, others]))

    def score_rows(self, scores: polars.DataFrame) -> polars.DataFrame:
        """Return how models stood on earlier targets, as a score of each scored target.

        It knows nothing of the target: what a score is worth shows beside it.

        Args:
            scores: Rows of table `scores`.
        Returns:
            Rows of table `scores` of method `earlier_targets`, for models that were run before.
        """
        rows = []
        for (target, shots), here in scores.group_by("target", "shots", maintain_order=True):
            models = here["model"].unique(maintain_order=True).to_list()
            known = standing_before(models, self.of(str(target)))
            rows += [
                {"target": target, "shots": shots, "model": model, "method": STATIC, "variant": ""}
                | {"value": value}
                for model, value in known.items()
            ]
        return frame("scores", rows)
