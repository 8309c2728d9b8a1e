"""The frame of a job, where the real workflow does not show it."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
import numpy, xferpipe.graph.job as frame
frame.limit_threads(THREADS)
import scipy.linalg, torch
from threadpoolctl import threadpool_info
print(json.dumps([pool["num_threads"] for pool in threadpool_info()]))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_libraries_loaded_before_and_after_compute_with_the_threads_of_the_study(threads):
    """numpy comes with the frame itself, so a variable alone would be too late for it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("THREADS", str(threads))],
        capture_output=True,
        text=True,
        check=True,
    )
    counts = json.loads(done.stdout)
    assert len(counts) >= 2
    assert set(counts) == {threads}
