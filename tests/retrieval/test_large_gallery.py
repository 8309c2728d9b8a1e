"""Galleries larger than memory: a block at a time, from either kind of file, progress shown."""

import subprocess
import sys

import numpy
import polars
import pyarrow
import pyarrow.parquet
import pytest
import torch

from xferpipe import ops
from xferpipe.ops import mapped
from xferpipe.retrieval import evaluate

#: What one mapped block (16,384 x 512) and the working memory of everything else may take, MiB.
BLOCK, EXTRA = 32, 64

CODE = """
import sys, threading
from pathlib import Path
import numpy, torch
from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.feature_files import opened
from xferpipe.retrieval.files import ranked_files

torch.set_num_threads(2)
folder, options = Path(sys.argv[1]), Retrieval(query_expansion=2, normalised=False)

def evaluated(gallery, progress=None):
    with opened(folder / "query.npy") as query, opened(gallery, progress=progress) as answers:
        return ranked_files(query, answers, options, progress=progress).figures[0]

# Threads, libraries and the kernels' workspace are there before anything is measured.
evaluated(folder / f"small{sys.argv[2]}")
Path("/proc/self/clear_refs").write_text("5")

def resident(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) / 1024

before = resident("VmRSS")
reports = []
figures = evaluated(folder / f"gallery{sys.argv[2]}", lambda *report: reports.append(report))
print(resident("VmHWM") - before, sum(words == "ranking" for words, _, _ in reports))
print(figures["rank1"], figures["map"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Queries, and galleries of 96 rows and of 80,000 (156 MiB) as NPY and as Parquet."""
    made = tmp_path_factory.mktemp("galleries")
    random = numpy.random.default_rng(0)
    centre = random.standard_normal((500, 512), dtype="float32")
    for name, rows in (("query", 200), ("small", 96), ("gallery", 80_000)):
        identity = random.integers(0, len(centre), rows)
        features = centre[identity] + 2 * random.standard_normal((rows, 512), dtype="float32")
        labels = {"identity": identity, "camera": random.integers(0, 9, rows)}
        numpy.save(made / f"{name}.npy", features)
        polars.DataFrame(labels).write_csv(made / f"{name}.csv")
        listed = pyarrow.FixedSizeListArray.from_arrays(features.ravel(), 512)
        table = pyarrow.table({**labels, "feature": listed})
        # One row group: none of its columns may be held as a whole.
        pyarrow.parquet.write_table(table, made / f"{name}.parquet", row_group_size=rows)
    return made


def clear_refs():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not clear_refs(), reason="peak memory cannot be reset here")
@pytest.mark.parametrize("ending", [".npy", ".parquet"])
def test_evaluate_gallery_of_a_file_is_in_memory_a_block_at_a_time(ending, folder):
    """Everything resident counts, mapped pages too; the gallery alone is 156 MiB."""
    arguments = [sys.executable, "-c", CODE, str(folder), ending]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    mebibytes, blocks, rank1, mean = map(float, result.stdout.split())
    assert mebibytes < BLOCK + EXTRA
    assert blocks == 6  # the start and five blocks
    labels = {name: polars.read_csv(folder / f"{name}.csv") for name in ("query", "gallery")}
    whole = evaluate(
        *(numpy.load(folder / f"{name}.npy") for name in labels),
        *(table["identity"].to_numpy() for table in labels.values()),
        *(table["camera"].to_numpy() for table in labels.values()),
        query_expansion=2,
    )
    assert (rank1, mean) == (whole["rank1"], whole["map"])


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_release_keeps_what_the_array_holds(mode, tmp_path):
    """A private copy ("c") would lose what was written to it, so its pages stay."""
    numpy.save(tmp_path / "a.npy", numpy.zeros((3000, 7), dtype=numpy.float32))
    array = numpy.load(tmp_path / "a.npy", mmap_mode=mode)
    if mode != "r":
        array[5] = 3
    mapped.release(array)
    mapped.release(array[100:])
    assert array.sum() == (0 if mode == "r" else 21)
    assert mapped.is_mapped(array) == mapped.is_mapped(array[7:]) == (mode != "c")


def test_release_other_arrays_are_left_alone():
    for features in (numpy.ones((3, 2)), torch.ones(3, 2), [[1.0]], None):
        assert not mapped.is_mapped(features)
        mapped.release(features)


def test_blocks_of_a_mapped_array_have_the_rows_of_the_whole(monkeypatch, tmp_path):
    monkeypatch.setattr("xferpipe.ops.inputs.BLOCK_BYTES", 1)
    random = numpy.random.default_rng(1)
    gallery = random.normal(size=(3000, 5)).astype(numpy.float32)
    query, labels = gallery[:20] + 1, (numpy.arange(20), numpy.arange(3000) % 20)
    kept = {"junk_rule": "none"}
    expected = ops.rank_metrics(query, gallery, *labels, **kept), ops.nearest(query, gallery, 9)
    numpy.save(tmp_path / "gallery.npy", gallery)
    numpy.save(tmp_path / "columns.npy", numpy.asfortranarray(gallery))
    for name in ("gallery.npy", "columns.npy"):
        found = numpy.load(tmp_path / name, mmap_mode="r")
        got = ops.rank_metrics(query, found, *labels, **kept), ops.nearest(query, found, 9)
        for one, other in zip(expected, got, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
