"""Run the job that Snakemake describes to a script."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any


def run(snakemake: Any) -> None:
    """Run the script of the job's rule, which may have a prefix as part of another workflow."""
    scripts = Path(snakemake.scriptdir).glob("*.py")
    fitting = [path for path in scripts if f"_{snakemake.rule}".endswith(f"_{path.stem}")]
    script = max(fitting, key=lambda path: len(path.stem))
    runpy.run_path(str(script), {"snakemake": snakemake})
