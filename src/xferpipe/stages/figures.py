"""The figures stage: the figures of the report as SVG files, for Snakemake's own report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xferpipe.config.jobs import ReportJob
from xferpipe.records import atomic_path
from xferpipe.records.stamp import stamped_text
from xferpipe.report.drawing import svg, unchecked
from xferpipe.report.evidence import load
from xferpipe.report.sections import SECTIONS


def figures(job: ReportJob, *, tables: Mapping[str, Path], figures: Mapping[str, Path]) -> None:
    """Write every figure of the report as a file of its own.

    Args:
        job: What the report is of.
        tables: The result tables by name.
        figures: Written: an SVG file for each name of `FIGURES`.
    """
    evidence = load(job, tables)
    with unchecked():
        for section in SECTIONS:
            for figure in section.figures(evidence):
                with atomic_path(figures[figure.name]) as temporary:
                    temporary.write_text(stamped_text(svg(figure)), encoding="utf-8")
