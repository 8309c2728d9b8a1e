"""Exact copies across classes, splits and data sets."""

from __future__ import annotations

import shutil

import numpy
import polars
import pytest

from xferpipe.config.datasets import Digits, ImageFolder
from xferpipe.datasets.copies import copies_of_sources, copy_findings, near_copy_findings
from xferpipe.datasets.findings import findings
from xferpipe.records import frame


def rows(*images: tuple[str, str, str, str | None]):
    """Return a manifest of (path, class, split, content)."""
    names = ("path", "class_name", "split", "content")
    made = [{"row": i, **dict(zip(names, one, strict=True))} for i, one in enumerate(images)]
    return frame("manifest", made)


def test_different_images_and_images_that_are_no_files_give_none():
    assert copy_findings(rows(("1", "a", "train", "x"), ("2", "a", "test", "y"))) == []
    assert copy_findings(rows(("1", "a", "train", None), ("2", "b", "test", None))) == []


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (("2", "b", "train", "x"), "1 picture is in more than one class: 1 = 2;"),
        (("2", "a", "test", "x"), "1 picture is both among the training images and among those"),
        (("2", "a", "validation", "x"), "1 picture is both among the training images"),
        (("2", "a", "gallery", "x"), "1 picture is both among the training images"),
        (("2", "a", "train", "x"), "1 picture is there more than once in one class (1 copies"),
    ],
)
def test_copy_is_told_where_it_lies(second, says):
    (found,) = copy_findings(rows(("1", "a", "train", "x"), second))
    assert says in found
    assert "1 = 2" in found


def test_copy_in_another_class_and_split_is_told_for_both():
    assert len(copy_findings(rows(("1", "a", "train", "x"), ("2", "b", "test", "x")))) == 2


def test_query_in_the_gallery_is_the_protocol():
    assert copy_findings(rows(("1", "7", "query", "x"), ("2", "7", "gallery", "x"))) == []


def test_pictures_are_counted_and_not_pairs():
    many = rows(*((f"{i}", "ab"[i % 2], "train", f"{i // 4}") for i in range(12)))
    (found,) = copy_findings(many)
    assert "3 pictures are in more than one class: 0 = 1 = 2" in found


def test_files_on_a_disk_are_compared_by_their_bytes(image_tree, listing):
    root = image_tree({"train/a": 5, "train/b": 5, "test/a": 3, "test/b": 3})
    shutil.copy(root / "train/a/000.png", root / "test/a/leak.png")
    shutil.copy(root / "train/a/001.png", root / "train/b/wrong.png")
    dataset = ImageFolder(root=root)
    found = findings(dataset, listing(dataset, root=root))
    assert any("train/a/001.png = train/b/wrong.png" in text for text in found)
    assert any("train/a/000.png = test/a/leak.png" in text for text in found)
    assert listing(Digits())["content"].null_count() == 1797


def test_target_among_the_training_images_of_a_source_is_told(image_tree, listing):
    root = image_tree({"train/a": 5, "train/b": 5, "test/a": 3, "test/b": 3})
    target = listing(ImageFolder(root=root), root=root)
    tested = target.filter(split="test")
    assert copies_of_sources(target, {"cars": target.clear(), "tested alike": tested}) == []
    leaked = tested.with_columns(split=polars.lit("train"))
    (told,) = copies_of_sources(target, {"cars": leaked})
    assert "6 images, 6 of them among those that models are judged on" in told
    assert "of source cars: test/a/000.png" in told
    (told,) = copies_of_sources(target, {"cars": target})
    assert told.startswith("10 images, 0 of them")


def directions(*degrees: float) -> numpy.ndarray:
    """Return vectors of different lengths in these directions: their cosines are known."""
    turns = numpy.radians(numpy.array(degrees))
    return (
        numpy.stack([numpy.cos(turns), numpy.sin(turns)], 1)
        * numpy.arange(1, len(turns) + 1)[:, None]
    )


def test_near_copies_are_told_between_classes_and_splits_alone():
    """cos 11 degrees is 0.9816, cos 12 degrees 0.9781."""
    images = rows(
        ("1", "a", "train", "x"),
        ("2", "b", "train", "y"),
        ("3", "a", "test", None),
        ("4", "a", "train", "z"),
        ("5", "b", "train", "x"),
    )
    (told,) = near_copy_findings(images, directions(0, 11, 100, 1, 0))
    assert told.startswith("3 pairs of images")
    assert "1 ~ 2, 2 ~ 4, 4 ~ 5;" in told, (
        "not 1 and 4 (one class and split), nor 1 and 5 (one file)"
    )
    assert near_copy_findings(images, directions(0, 12, 100, 1, 0))[0].startswith("2 pairs")
    assert near_copy_findings(images, directions(0, 40, 80, 120, 160)) == []
    (told,) = near_copy_findings(images, directions(0, 40, 5, 120, 160))
    assert "1 ~ 3" in told


def test_near_copies_of_many_images_are_those_of_all_pairs():
    random = numpy.random.default_rng(0)
    features = random.normal(size=(2500, 8))
    images = rows(*((f"{i}", "ab"[i % 2], "train", None) for i in range(2500)))
    unit = features / numpy.linalg.norm(features, axis=1, keepdims=True)
    wanted = sum(int((unit[i, None] @ unit[i + 1 :: 2].T >= 0.98).sum()) for i in range(2499))
    assert wanted > 1
    assert near_copy_findings(images, features)[0].startswith(f"{wanted:,} pairs")
    assert near_copy_findings(images.head(1), features[:1]) == []
    assert near_copy_findings(images, numpy.zeros((2500, 8))) == []
