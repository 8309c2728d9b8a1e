"""The report: one self-contained page from the result tables, and its figures as SVG files."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config import ReportJob


def report(job: ReportJob, *, tables: Path, output: Path) -> None:
    """Write the report page.

    Args:
        job: What the report is of.
        tables: Folder with the result tables; those that are absent are named on the page.
        output: HTML file to write.
    """
    from xferpipe.records import atomic_path
    from xferpipe.records.stamp import stamped_text
    from xferpipe.report.evidence import load
    from xferpipe.report.page import html

    with atomic_path(output) as temporary:
        temporary.write_text(stamped_text(html(load(job, tables))), encoding="utf-8")


def figures(job: ReportJob, *, tables: Path, output: Path) -> None:
    """Write every figure of `FIGURES` as `<output>/<name>.svg`, for `snakemake --report`.

    Args:
        job: What the report is of.
        tables: Folder with the result tables.
        output: Folder to write to.
    """
    from xferpipe.records import atomic_path
    from xferpipe.records.stamp import stamped_text
    from xferpipe.report.drawing import svg
    from xferpipe.report.evidence import load
    from xferpipe.report.sections import SECTIONS

    evidence = load(job, tables)
    for section in SECTIONS:
        for figure in section.figures(evidence):
            with atomic_path(Path(output) / f"{figure.name}.svg") as temporary:
                temporary.write_text(stamped_text(svg(figure)), encoding="utf-8")
