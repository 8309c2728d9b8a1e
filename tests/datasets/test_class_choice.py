"""Some classes of a data set: named, or drawn by a seed, and recorded in the manifest."""

from __future__ import annotations

import polars
import pytest
from pydantic import ValidationError

from xferpipe.config.datasets import ImageFolder, ImageTable, RandomClasses, TorchvisionData
from xferpipe.datasets.checks import DatasetError

LETTERS = "abcdefgh"


@pytest.fixture
def tree(image_tree):
    return image_tree({f"{split}/{name}": 2 for split in ("train", "val") for name in LETTERS})


def names(rows) -> list[str]:
    return rows.select("label", "class_name").unique().sort("label")["class_name"].to_list()


def test_named_classes_are_kept_in_label_order(tree, listing):
    rows = listing(ImageFolder(root=tree, classes=("g", "b")), root=tree)
    assert names(rows) == ["g", "b"]
    assert len(rows) == 8
    for label, folder in rows.select("label", polars.col("path").str.split("/").list.get(1)).rows():
        assert folder == "gb"[label]


def test_drawn_classes_are_recorded_repeatable_and_other_ones_for_another_seed(
    tree, listing, capsys
):
    def drawn(count, seed, study_seed=0):
        block = ImageFolder(root=tree, classes=RandomClasses(random=count, seed=seed))
        return names(listing(block, root=tree, seed=study_seed))

    three = drawn(3, 0)
    assert len(set(three)) == 3
    assert three == sorted(three)
    assert f"3 of 8 classes, drawn by seed 0: {', '.join(three)}" in capsys.readouterr().err
    assert drawn(3, 0, study_seed=5) == three
    assert set(three) < set(drawn(5, 0))
    assert drawn(8, 1) == list(LETTERS)
    assert len({tuple(drawn(3, seed)) for seed in range(8)}) > 1


def test_drawn_classes_are_each_as_likely(tree):
    """Over 400 seeds a class is drawn 3/8 of the time; six standard deviations hold it."""
    from xferpipe.datasets.class_choice import of_classes

    rows = polars.DataFrame(
        {"class_name": list(LETTERS), "label": range(8), "split": ["train"] * 8}
    )
    counts = dict.fromkeys(LETTERS, 0)
    for seed in range(400):
        for name in of_classes(rows, RandomClasses(random=3, seed=seed), where="x")["class_name"]:
            counts[name] += 1
    deviation = (400 * 3 / 8 * 5 / 8) ** 0.5
    assert all(abs(count - 150) < 6 * deviation for count in counts.values())


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (("a", "zebra"), "names zebra, which it does not have; its classes: a, b, c"),
        (RandomClasses(random=9), "asks for 9 classes of 8; allowed: 2 to 8"),
    ],
)
def test_classes_that_are_not_there_are_named(tree, listing, classes, says):
    with pytest.raises(DatasetError, match=says):
        listing(ImageFolder(root=tree, classes=classes), root=tree)


def test_classes_of_a_retrieval_table_are_refused(tmp_path, write_image, listing):
    lines = ["path,split,identity,camera"]
    for split, identity in (("train", 0), ("train", 1), ("query", 2), ("gallery", 2)):
        path = write_image(tmp_path / f"{split}{identity}.png")
        lines.append(f"{path.name},{split},{identity},{len(lines)}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    block = ImageTable(path=tmp_path / "list.csv", root=tmp_path, classes=("0", "1"))
    with pytest.raises(DatasetError, match="identities in query and gallery"):
        listing(block, root=tmp_path)


@pytest.mark.parametrize("classes", [["a"], ["a", "a"], {"random": 1}, {"seed": 0}, []])
def test_classes_that_make_no_classification_are_an_error_before_any_job(classes):
    with pytest.raises(ValidationError):
        TorchvisionData(name="CIFAR10", root="data", classes=classes)
