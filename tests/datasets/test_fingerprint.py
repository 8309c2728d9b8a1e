"""Fingerprints see what a reader reads, no dates, no places; unchanged files are read once."""

from __future__ import annotations

import os
import shutil
import time

import polars
import pytest

from xferpipe.config.datasets import (
    Digits,
    GeneratedVehicles,
    ImageFolder,
    ImageTable,
    Market1501,
    TorchvisionData,
    VehicleID,
    Veri776,
)
from xferpipe.config.jobs import GenerateJob
from xferpipe.datasets import fingerprint as module
from xferpipe.datasets import walk
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.fingerprint import dataset_fingerprint, file_fingerprint, fingerprint
from xferpipe.stages.generate import generate

OLD = 1_600_000_000


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "set"
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        os.utime(root / name, (OLD, OLD))
    return root


@pytest.fixture
def mark(tmp_path):
    return lambda root: dataset_fingerprint(ImageFolder(root=root), cache=tmp_path / "cache")


@pytest.fixture
def settled(tree, monkeypatch):
    """A time of change cannot be set back; let whatever is older than the clock's grain count."""
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    time.sleep(0.05)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a/1.jpg").write_text("A/1.jpg"),
        lambda root: (root / "a/1.jpg").rename(root / "a/3.jpg"),
        lambda root: (root / "a/1.jpg").unlink(),
        lambda root: (root / "c.jpg").write_text(""),
        lambda root: (root / "a/1.jpg").rename(root / "b/2.jpg"),
    ],
)
def test_fingerprint_changed_content_or_name_is_seen(tree, mark, change):
    before = mark(tree)
    change(tree)
    assert mark(tree) != before


def test_fingerprint_same_bytes_swapped_between_two_names_are_seen(tree, mark):
    before = mark(tree)
    one, other = tree / "a/1.jpg", tree / "a/2.jpg"
    text = one.read_text(), other.read_text()
    one.write_text(text[1])
    other.write_text(text[0])
    for path in (one, other):
        os.utime(path, (OLD, OLD + 1))
    assert mark(tree) != before


def test_fingerprint_touched_copied_or_moved_folder_is_the_same(tree, mark, tmp_path):
    before = mark(tree)
    os.utime(tree / "a/1.jpg")
    assert mark(tree) == before
    assert mark(shutil.copytree(tree, tmp_path / "copy")) == before
    assert mark(tree.rename(tmp_path / "moved")) == before


STRAYS = ("notes.txt", "README", "Thumbs.db", "desktop.ini", ".DS_Store", "._1.jpg", ".git/x.jpg")


@pytest.mark.parametrize("folder", ["", "a", "b"])
@pytest.mark.parametrize("name", STRAYS)
def test_fingerprint_file_that_is_no_image_changes_nothing(tree, mark, folder, name):
    before = mark(tree)
    (tree / folder / name).parent.mkdir(exist_ok=True)
    (tree / folder / name).write_text("x")
    assert mark(tree) == before


def test_fingerprint_folder_listed_in_another_order_is_the_same(tree, mark, monkeypatch):
    before = mark(tree)
    original = os.scandir
    monkeypatch.setattr(walk.os, "scandir", lambda path: reversed(list(original(path))))
    forwards = mark(tree)
    monkeypatch.setattr(
        walk.os, "scandir", lambda path: sorted(original(path), key=lambda item: item.name)
    )
    assert before == forwards == mark(tree)


def test_fingerprint_second_time_reads_no_settled_file(tree, mark, settled, monkeypatch):
    read = []
    original = module.hashlib.file_digest

    def counting(file, name):
        read.append(file.name)
        return original(file, name)

    monkeypatch.setattr(module.hashlib, "file_digest", counting)
    first = mark(tree)
    assert len(read) == 3
    assert mark(tree) == first
    assert len(read) == 3
    (tree / "a/1.jpg").write_text("other")
    mark(tree)
    assert read[3:] == [str(tree / "a/1.jpg")]


def test_fingerprint_file_written_just_now_is_never_trusted(tree, mark):
    """Two writes within the clock's grain leave size, time of change and inode alike."""
    path = tree / "a/1.jpg"
    path.write_text("one")
    before = mark(tree)
    path.write_text("two")
    assert mark(tree) != before


def test_fingerprint_changed_file_whose_date_was_put_back_is_seen(tree, mark, settled):
    before = mark(tree)
    (tree / "a/1.jpg").write_text("A/1.jpg")
    os.utime(tree / "a/1.jpg", (OLD, OLD))
    assert mark(tree) != before


def test_fingerprint_folder_linked_into_itself_ends(tree, mark):
    before = mark(tree)
    (tree / "a" / "loop").symlink_to(tree)
    assert mark(tree) == before
    (tree / "a" / "more").symlink_to(tree / "b")
    assert mark(tree) == before, "every folder is read once"
    other = tree.parent / "other"
    other.mkdir()
    (other / "9.jpg").write_bytes(b"more")
    (tree / "a" / "other").symlink_to(other)
    assert mark(tree) != before


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a/1.jpg": []}'])
def test_fingerprint_broken_cache_is_read_anew(tree, mark, settled, tmp_path, content):
    before = mark(tree)
    (store,) = (tmp_path / "cache").iterdir()
    store.write_text(content)
    assert mark(tree) == before


def test_fingerprint_cache_that_cannot_be_written_costs_nothing_else(tree, tmp_path):
    (tmp_path / "file").touch()
    names = ["a/1.jpg", "b/1.jpg"]
    refused = fingerprint(tree, names, cache=tmp_path / "file")
    assert refused == fingerprint(tree, names, cache=tmp_path / "new")


def test_fingerprint_of_some_files_ignores_the_others(tree, tmp_path):
    def mark(paths):
        return fingerprint(tree, paths, cache=tmp_path / "cache")

    before = mark(["a/1.jpg", "b/1.jpg"])
    assert mark(["b/1.jpg", "a/1.jpg"]) == before
    (tree / "a/2.jpg").unlink()
    assert mark(["a/1.jpg", "b/1.jpg"]) == before
    (tree / "a/1.jpg").unlink()
    assert mark(["a/1.jpg", "b/1.jpg"]) != before


def test_fingerprint_file_that_cannot_be_read_is_named(tree, mark, monkeypatch):
    def denied(file, name):
        raise PermissionError(13, "Permission denied", file.name)

    monkeypatch.setattr(module.hashlib, "file_digest", denied)
    with pytest.raises(DatasetError, match=r"\.jpg' cannot be read .*make it readable"):
        mark(tree)


def test_file_fingerprint_sees_content_alone_and_reads_it_once(
    tree, tmp_path, monkeypatch, settled
):
    def mark(name):
        return file_fingerprint(tree / name, cache=tmp_path / "cache")

    before = mark("a/1.jpg")
    assert mark("a/2.jpg") != before
    monkeypatch.setattr(module.hashlib, "file_digest", None)
    assert mark("a/1.jpg") == before
    monkeypatch.undo()
    (tree / "a/1.jpg").rename(tree / "renamed.bin")
    assert mark("renamed.bin") == before


def test_file_fingerprint_of_nothing_or_a_folder_is_an_error(tree):
    for path in (tree / "nowhere.pt", tree / "a"):
        with pytest.raises(DatasetError, match=f"{path}: no such file"):
            file_fingerprint(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", " [ab]*.csv", " [ab]*.parquet"])
def test_dataset_fingerprint_table_sees_its_images_and_nothing_else_below_its_root(
    tree, tmp_path, suffix
):
    table = tree / f"images{suffix}"
    rows = polars.DataFrame({"path": ["a/1.jpg", "b/1.jpg"], "label": [0, 1]})
    rows.write_csv(table) if suffix.endswith(".csv") else rows.write_parquet(table)
    dataset = ImageTable(path=table, root=tree)

    def mark():
        return dataset_fingerprint(dataset, cache=tmp_path / "cache")

    before = mark()
    (tree / "results").mkdir()
    (tree / "results" / "figure.png").write_text("x")
    assert mark() == before
    (tree / "b/1.jpg").write_text("x")
    changed = mark()
    assert changed != before
    table.write_bytes(table.read_bytes() + b"\n")
    assert mark() != changed


def test_dataset_fingerprint_two_tables_of_one_root_remember_their_own(
    tree, tmp_path, monkeypatch, settled
):
    sets = []
    for name in ("a", "b"):
        polars.DataFrame({"path": [f"{name}/1.jpg"], "label": [0]}).write_csv(tree / f"{name}.csv")
        sets.append(ImageTable(path=tree / f"{name}.csv", root=tree))
    time.sleep(0.05)

    def marks():
        return [dataset_fingerprint(dataset, cache=tmp_path / "cache") for dataset in sets]

    before = marks()
    monkeypatch.setattr(module.hashlib, "file_digest", None)
    assert marks() == before


def test_dataset_fingerprint_sets_without_files_of_the_user_are_empty(tmp_path):
    nowhere = tmp_path / "nowhere"
    rendered = GeneratedVehicles()
    for dataset in (
        Digits(),
        Veri776(generate=rendered),
        TorchvisionData(name="CIFAR10", root=nowhere, download=True),
        TorchvisionData(name="FakeData", root=nowhere),
    ):
        assert dataset_fingerprint(dataset) == ""


def test_dataset_fingerprint_of_downloaded_data_stays_when_they_arrive(tmp_path):
    dataset = TorchvisionData(name="CIFAR10", root=tmp_path / "cifar", download=True)
    before = dataset_fingerprint(dataset)
    (tmp_path / "cifar").mkdir()
    (tmp_path / "cifar" / "data_batch_1").write_text("x")
    assert dataset_fingerprint(dataset) == before


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ImageFolder, {}),
        (TorchvisionData, {"name": "CIFAR10"}),
        (Veri776, {}),
        (Market1501, {}),
        (VehicleID, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_dataset_fingerprint_missing_or_empty_folder_is_an_error(kind, options, tmp_path):
    for root in ("nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DatasetError, match=root):
            dataset_fingerprint(kind(root=tmp_path / root, **options))


def test_dataset_fingerprint_missing_table_or_its_root_is_an_error(tree, tmp_path):
    polars.DataFrame({"path": ["a/1.jpg"], "label": [0]}).write_csv(tmp_path / "t.csv")
    for path, root in (
        (tmp_path / "nowhere.csv", tree),
        (tmp_path / "t.csv", tmp_path / "nowhere"),
    ):
        with pytest.raises(DatasetError, match=r"nowhere.*: no such"):
            dataset_fingerprint(ImageTable(path=path, root=root))


@pytest.fixture
def written(tmp_path):
    """Write a rendered set in a layout; return its data set."""

    def write(kind):
        vehicles = GeneratedVehicles(train_identities=3, test_identities=2, cameras=2)
        options = {"test_list": 2} if kind is VehicleID else {}
        generate(
            GenerateJob(dataset=kind(generate=vehicles, **options), seed=0),
            root=tmp_path / "cars",
        )
        return kind(root=tmp_path / "cars", **options)

    return write


@pytest.mark.parametrize(
    ("kind", "counts", "stray"),
    [
        (Veri776, "image_test", "image_test/notes.txt"),
        (Veri776, "gt_index.txt", "readme.txt"),
        (Veri776, "image_query", "extra/0001_c001_00000000_0.jpg"),
        (Market1501, "query", "query/._0001_c1s1_000001_00.jpg"),
        (Market1501, "bounding_box_train", "Thumbs.db"),
        (VehicleID, "image", "image/notlisted.jpg"),
        (VehicleID, "train_test_split/train_list.txt", "train_test_split/test_list_1600.txt"),
        (VehicleID, "train_test_split/test_list_2.txt", "attribute/color.txt"),
    ],
)
def test_dataset_fingerprint_layout_sees_what_its_reader_opens_and_no_stray(
    kind, counts, stray, written, tmp_path
):
    dataset = written(kind)
    if counts == "gt_index.txt":
        (dataset.root / counts).write_text("1 2\n")

    def mark():
        return dataset_fingerprint(dataset, cache=tmp_path / "cache")

    before = mark()
    (dataset.root / stray).parent.mkdir(exist_ok=True)
    (dataset.root / stray).write_bytes(b"x")
    assert mark() == before
    place = dataset.root / counts
    counted = place if place.is_file() else min(place.glob("[!.]*.jpg"))
    counted.write_bytes(counted.read_bytes() + b"\n")
    assert mark() != before
