"""The report stage: one self-contained page from tables and images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xferpipe.config.jobs import ReportJob
from xferpipe.records import atomic_path
from xferpipe.records.stamp import stamped_text
from xferpipe.report.drawing import unchecked
from xferpipe.report.page import html
from xferpipe.report.page_evidence import load_page


def report(
    job: ReportJob,
    *,
    tables: Mapping[str, Path],
    targets: Mapping[str, Mapping[str, Path | None]],
    sources: Mapping[str, Path] | None = None,
    page: Path,
) -> None:
    """Write the report page.

    Args:
        job: What the report is of.
        tables: The result tables by name; those that are absent are named on the page.
        targets: By target, where its images are: `manifest` and `findings`, and `images` (packed)
            or `root`.
        sources: Manifests of data sets that models were pretrained on, by name.
        page: Written: HTML.
    Raises:
        RecordError: A manifest is gone.
        DatasetError: The images of a target are not those of its manifest.
    """
    evidence = load_page(job, tables, targets, sources or {})
    with unchecked(), atomic_path(page) as temporary:
        temporary.write_text(stamped_text(html(evidence)), encoding="utf-8")
