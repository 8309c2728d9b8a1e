"""Galleries larger than memory: mapped from disk, never loaded, progress shown."""

import subprocess
import sys

import pytest

CODE = """
import sys, threading
import numpy, torch
from xferpipe.retrieval import evaluate

path, rows, width, queries = sys.argv[1], *map(int, sys.argv[2:])
random = numpy.random.default_rng(0)
gallery = numpy.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=(rows, width))
identity = random.integers(0, rows // 25, rows)
asked = identity[random.integers(0, rows, queries)]
centre = random.standard_normal((rows // 25, width), dtype="float32")
for first in range(0, rows, 10_000):
    part = slice(first, first + 10_000)
    noise = random.standard_normal((len(identity[part]), width), dtype="float32")
    gallery[part] = centre[identity[part]] + 2 * noise
query = centre[asked] + 2 * random.standard_normal((queries, width), dtype="float32")
del gallery, centre, noise
torch.set_num_threads(2)
camera = {"query_camera": random.integers(0, 9, queries),
          "gallery_camera": random.integers(0, 9, rows)}
# Threads, libraries and the kernels' workspace are there before anything is measured.
evaluate(query[:9], query[:99], asked[:9], asked[:99])

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1])

peak, done = anonymous(), threading.Event()
before = peak
def watch():
    global peak
    while not done.wait(0.01):
        peak = max(peak, anonymous())
thread = threading.Thread(target=watch)
thread.start()
reports = []
figures = evaluate(query, numpy.load(path, mmap_mode="r"), asked, identity, **camera,
                   progress=lambda *report: reports.append(report))
done.set()
thread.join()
print((peak - before) / 1024, len(reports), figures["queries"], figures["rank1"])
"""


def measured(path, rows, width, queries):
    arguments = [sys.executable, "-c", CODE, *map(str, (path, rows, width, queries))]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    mebibytes, reports, counted, rank1 = map(float, result.stdout.split())
    assert rank1 > 0.5
    return mebibytes, reports, counted


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_evaluate_mapped_gallery_is_not_loaded(tmp_path):
    """A gallery of 156 MiB: memory of the process's own grows by far less than that."""
    mebibytes, _, counted = measured(tmp_path / "gallery.npy", 80_000, 512, 200)
    assert mebibytes < 64
    assert counted > 150


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_evaluate_half_a_million_rows_stay_within_64_mib_over_the_mapping(tmp_path):
    mebibytes, reports, counted = measured(tmp_path / "gallery.npy", 500_000, 512, 3000)
    assert mebibytes < 64
    assert reports > 3
    assert counted > 2900
