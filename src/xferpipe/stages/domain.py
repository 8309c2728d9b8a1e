"""The domain stage: one domain of a multi-domain expert becomes a zoo entry."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.jobs import DomainJob
from xferpipe.records import read_table, write_table
from xferpipe.records.tensors import copy_tensors


def domain(job: DomainJob, *, domains: Path, weights: Path, card: Path, class_means: Path) -> None:
    """Copy what the expert stage wrote for one domain to its place in the zoo.

    Args:
        job: The expert and the domain's source.
        domains: Folder of the expert's domains.
        weights: Written: the domain's weights, a plain model's.
        card: Written: one row of table `zoo`.
        class_means: Written: class means and counts of the source.
    """
    folder = domains / job.source
    for output in (weights, class_means):
        copy_tensors(folder / output.name, output)
    write_table("zoo", read_table("zoo", folder / card.name, ours=True), card)
