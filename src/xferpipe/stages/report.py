"""The report stage: one self-contained page from the result tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xferpipe.config.jobs import ReportJob
from xferpipe.records import atomic_path
from xferpipe.records.stamp import stamped_text
from xferpipe.report.evidence import load
from xferpipe.report.page import html


def report(job: ReportJob, *, tables: Mapping[str, Path], page: Path) -> None:
    """Write the report page.

    Args:
        job: What the report is of.
        tables: The result tables by name; those that are absent are named on the page.
        page: Written: HTML.
    """
    with atomic_path(page) as temporary:
        temporary.write_text(stamped_text(html(load(job, tables))), encoding="utf-8")
