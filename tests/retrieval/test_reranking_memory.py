"""Re-ranking of 12,000 images: what it takes beside the features and what is loaded without it."""

import subprocess
import sys

import pytest
from tests.retrieval.test_large_gallery import clear_refs

LIMIT_MIB = 300

CODE = """
from pathlib import Path
import numpy, torch
from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.outcomes import outcomes

torch.set_num_threads(2)
random = numpy.random.default_rng(0)
options = Retrieval(rerank=True, normalised=False)

centre = random.standard_normal((1500, 512), dtype="float32")

def features(rows):
    identity = random.integers(0, 1500 if rows > 100 else 9, rows)
    return centre[identity] + 2 * random.standard_normal((rows, 512), dtype="float32"), identity

def ranked(queries, rows):
    (query, asked), (gallery, found) = features(queries), features(rows)
    return lambda: outcomes(
        query, gallery, Labels.of(asked, found), options, reranked=(False, True), lists=True
    )

def resident(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) / 1024

# Threads, libraries and the kernels' workspace are there before anything is measured.
ranked(60, 90)()
run = ranked(2000, 10_000)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
plain, again = run()
print(resident("VmHWM") - before, len(again.lists.gallery))
"""


@pytest.mark.skipif(not clear_refs(), reason="peak memory cannot be reset here")
def test_reranking_twelve_thousand_images_stays_in_bounds():
    result = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    )
    mebibytes, queries = map(float, result.stdout.split())
    assert queries == 2000
    assert mebibytes < LIMIT_MIB
