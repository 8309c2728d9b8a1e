"""Draw the report's figures one by one, for Snakemake's own report."""

from pathlib import Path

from xferpipe.config import ReportJob
from xferpipe.rebuild.job_script import job_script

with job_script(snakemake, ReportJob, stage="figures") as job:
    from xferpipe.report import figures

    figures(
        job, tables=Path(snakemake.input.selection).parent, output=Path(snakemake.output[0]).parent
    )
