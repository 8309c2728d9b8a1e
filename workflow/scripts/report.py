"""Draw the report page."""

from pathlib import Path

from xferpipe.config import ReportJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, ReportJob) as job:
    from xferpipe.report import report

    report(job, tables=Path(snakemake.input.selection).parent, output=Path(snakemake.output.page))
