"""The export stage: the model that the answer picks for a target, as a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xferpipe.config.jobs import ExportJob
from xferpipe.handover.bundle import write_files
from xferpipe.handover.winner import winner
from xferpipe.records.stamp import read_stamp
from xferpipe.zoo.weights import WeightsError


def export(
    job: ExportJob,
    *,
    tables: Mapping[str, Path],
    manifest: Path,
    weights: Path,
    configuration: Path,
    card: Path,
) -> None:
    """Export the model that the answer picks; where it picks none, the best that can be had.

    Args:
        job: The resolved slice.
        tables: Result tables `answers`, `finetunes`, `zoo` and `targets`; they lie in the study's
            folder of tables, from where the runs are found.
        manifest: Table `manifest` of the target's images.
        weights: Written: the fine-tuned weights.
        configuration: Written: what the model is, as JSON.
        card: Written: its card, in Markdown.
    Raises:
        ValueError: No run on the target finished.
        WeightsError: The weights are gone, or of another job than their run.
    """
    (folder,) = {path.parent for path in tables.values()}
    won = winner(folder, job.target, shots=str(job.shots))
    found, row = read_stamp(won.weights), read_stamp(won.weights.with_name("run.parquet"))
    if found is None or row is None or found.key != row.key:
        raise WeightsError(
            f"{won.weights} is not of the run beside it: another program or study wrote it; "
            "delete its folder and run the study again"
        )
    write_files(won, manifest, weights=weights, configuration=configuration, card=card)
