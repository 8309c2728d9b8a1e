"""What is odd about a data set that can be used."""

from __future__ import annotations

import polars
import pytest

from xferpipe.config.datasets import Generated, ImageFolder, Veri776
from xferpipe.datasets.findings import findings
from xferpipe.records import frame

FOLDER = ImageFolder(root="photos")


def manifest(**training: int) -> polars.DataFrame:
    """Return the rows of classes with these many training images and ten test images each."""
    rows = [
        {"label": label, "class_name": name, "split": split, "path": f"{name}/{split}{i}.jpg"}
        for label, (name, count) in enumerate(training.items())
        for split, images in (("train", count), ("test", 10))
        for i in range(images)
    ]
    return frame("manifest", rows)


def test_even_classes_of_enough_images_give_none():
    assert findings(FOLDER, manifest(a=40, b=60)) == []
    assert findings(Generated(kind="letters"), manifest(a=10, b=10)) == []


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ({"a": 9, "b": 20}, "class a (9) has fewer than 10 training images"),
        ({"a": 3, "b": 9, "c": 20}, "2 classes have fewer than 10 training images: a (3), b (9)"),
        ({"a": 90, "b": 10}, "class a has 100 images and class b has 20"),
    ],
)
def test_small_and_uneven_classes_are_named_with_their_counts(classes, says):
    (found,) = findings(FOLDER, manifest(**classes))
    assert says in found


def test_published_set_tells_that_the_copy_is_not_whole():
    rows = frame(
        "manifest",
        [
            {"split": split, "identity": identity, "camera": camera, "path": f"{split}{camera}"}
            for split, identity in (("train", 1), ("query", 2), ("gallery", 2))
            for camera in (1, 2)
        ],
    )
    found = findings(Veri776(root="veri"), rows)
    assert any("published are 37778 of 576" in text for text in found)
    generated = Veri776.model_validate({"generate": {"train_identities": 2}})
    assert not any("published" in text for text in findings(generated, rows))


@pytest.mark.parametrize(("first", "found"), [(86, 0), (90, 1)])
def test_identity_of_nearly_all_training_images_is_named(first, found):
    rows = manifest(a=first, b=100 - first).filter(split="train")
    test = manifest(c=0).with_columns(
        split=polars.Series(["query"] + ["gallery"] * 9),
        identity=polars.lit(3, polars.Int64),
        camera=polars.int_range(10, dtype=polars.Int64),
    )
    rows = rows.with_columns(identity=polars.col("label").cast(polars.Int64))
    texts = findings(Veri776(root="cars"), polars.concat([rows, test]), junk_rule="none")
    named = [text for text in texts if "of the 100 training images" in text]
    assert len(named) == found
    assert all(text.startswith("identity a has 90") for text in named)
