"""Fingerprints see content and names, never dates or places; unchanged files are not read again."""

from __future__ import annotations

import os
import shutil
import time

import polars
import pytest

from xferpipe.config.datasets import Digits, ImageFolder, ImageTable
from xferpipe.datasets import fingerprint as module
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.fingerprint import dataset_fingerprint, fingerprint, fingerprint_of

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
    return lambda root: fingerprint(root, cache=tmp_path / "cache")


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


def test_fingerprint_touched_or_copied_folder_is_the_same(tree, mark, tmp_path):
    before = mark(tree)
    os.utime(tree / "a/1.jpg")
    assert mark(tree) == before
    copy = shutil.copytree(tree, tmp_path / "copy")
    (copy / ".hidden").write_text("x")
    (copy / ".git").mkdir()
    (copy / ".git" / "x").write_text("x")
    assert mark(copy) == before


def test_fingerprint_folder_listed_in_another_order_is_the_same(tree, mark, monkeypatch):
    before = mark(tree)
    original = os.scandir
    monkeypatch.setattr(module.os, "scandir", lambda path: reversed(list(original(path))))
    forwards = mark(tree)
    monkeypatch.setattr(
        module.os, "scandir", lambda path: sorted(original(path), key=lambda item: item.name)
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
    assert mark(tree) != before


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a/1.jpg": []}'])
def test_fingerprint_broken_cache_is_read_anew(tree, mark, settled, tmp_path, content):
    before = mark(tree)
    (store,) = (tmp_path / "cache").iterdir()
    store.write_text(content)
    assert mark(tree) == before


def test_fingerprint_cache_that_cannot_be_written_costs_nothing_else(tree, tmp_path):
    (tmp_path / "file").touch()
    assert fingerprint(tree, cache=tmp_path / "file") == fingerprint(tree, cache=tmp_path / "new")


def test_fingerprint_of_some_files_ignores_the_others(tree, tmp_path):
    def mark(paths):
        return fingerprint_of(tree, paths, cache=tmp_path / "cache")

    before = mark(["a/1.jpg", "b/1.jpg"])
    assert mark(["b/1.jpg", "a/1.jpg"]) == before
    (tree / "a/2.jpg").unlink()
    assert mark(["a/1.jpg", "b/1.jpg"]) == before
    (tree / "a/1.jpg").unlink()
    assert mark(["a/1.jpg", "b/1.jpg"]) != before


def test_fingerprint_single_file_and_missing_root(tree, tmp_path, mark):
    assert mark(tree / "a/1.jpg") != mark(tree / "a/2.jpg")
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        mark(tmp_path / "nowhere")


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


def test_dataset_fingerprint_sets_without_files_of_the_user_are_empty(tmp_path):
    assert dataset_fingerprint(Digits()) == ""
    assert dataset_fingerprint(ImageFolder(root=tmp_path / "nowhere")) == ""
    assert dataset_fingerprint(ImageTable(path=tmp_path / "nowhere.csv")) == ""
