"""The generate stage: a folder appears whole or not at all, and its real reader reads it."""

from __future__ import annotations

import pytest

from xferpipe.config.datasets import Digits, Market1501, VehicleID, Veri776
from xferpipe.config.jobs import GenerateJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.fingerprint import fingerprint
from xferpipe.datasets.generated import vehicles
from xferpipe.datasets.walk import files_below
from xferpipe.stages.generate import generate

SMALL = {"train_identities": 3, "test_identities": 2, "cameras": 2, "images_per_camera": 2}


@pytest.mark.parametrize(
    ("kind", "options"), [(Veri776, {}), (Market1501, {}), (VehicleID, {"test_list": 2})]
)
def test_generate_layout_is_read_by_its_real_reader(tmp_path, listing, kind, options):
    dataset = kind(generate=SMALL, **options)
    generate(GenerateJob(dataset=dataset, seed=0), root=tmp_path / "set")
    rows = listing(dataset, root=tmp_path / "set")
    assert rows.filter(rows["split"] == "train")["label"].n_unique() == 3
    assert len(rows) >= (3 + 2) * 2 * 2


def test_generate_same_seed_gives_the_same_folder_and_replaces_an_older_one(tmp_path):
    def mark(name, seed):
        job = GenerateJob(dataset=Veri776(generate=SMALL), seed=seed)
        generate(job, root=tmp_path / name)
        root = tmp_path / name
        return fingerprint(root, files_below(root), cache=tmp_path / "cache")

    first = mark("one", 0)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "old.txt").write_text("left over")
    assert mark("two", 0) == first
    assert mark("two", 1) != first


def test_generate_failure_leaves_neither_a_folder_nor_a_part_of_one(tmp_path, monkeypatch):
    def fail(reader, block, folder, seed):
        (folder / "half.jpg").write_bytes(b"x")
        raise OSError("disk full")

    monkeypatch.setattr(vehicles, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        generate(
            GenerateJob(dataset=Veri776(generate=SMALL), seed=0), root=tmp_path / "out" / "set"
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_generate_set_that_is_not_generated_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="nothing to generate"):
        generate(GenerateJob(dataset=Digits(), seed=0), root=tmp_path / "set")
