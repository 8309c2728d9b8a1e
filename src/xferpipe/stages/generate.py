"""The generate stage: write a rendered vehicle set in a re-identification format's own layout."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from xferpipe.config.jobs import GenerateJob
from xferpipe.datasets.checks import DatasetError


def generate(job: GenerateJob, *, root: Path) -> None:
    """Write the set, so that the format's real reader reads it.

    Args:
        job: Data set with a `generate` block, and seed.
        root: Folder to write. It appears when it is complete; an older one is replaced.
    Raises:
        DatasetError: The data set is not a generated one.
    """
    from xferpipe.datasets.generated import vehicles

    block = getattr(job.dataset, "generate", None)
    if block is None:
        raise DatasetError(f"reader {job.dataset.reader}: nothing to generate; set 'generate'")
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}.", suffix=".partial"))
    try:
        vehicles.write(job.dataset.reader, block, unfinished, job.seed)
        unfinished.chmod(0o755)
        shutil.rmtree(root, ignore_errors=True)
        unfinished.replace(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
