"""Generated images: repeatable, varied, and of classes that can be told apart."""

from __future__ import annotations

import numpy
import pytest

from xferpipe.config.datasets import Generated
from xferpipe.datasets.generated import letters, shapes, textures
from xferpipe.seeding import numpy_generator

KINDS = ["shapes", "textures", "letters"]


@pytest.mark.parametrize("kind", KINDS)
def test_generated_same_seed_gives_the_same_bytes_and_another_seed_others(packing, kind):
    dataset = Generated(kind=kind, classes=3, images_per_class=6)
    rows, first = packing(dataset)
    again_rows, again = packing(dataset)
    _, other = packing(dataset, seed=1)
    assert rows.equals(again_rows)
    assert (first == again).all()
    assert len(numpy.unique(first.reshape(len(first), -1), axis=0)) == len(first) == 18
    assert (first[rows["index"].arg_sort()] != other).any()


@pytest.mark.parametrize("kind", KINDS)
def test_generated_more_images_keep_those_there_were(packing, kind):
    few_rows, few = packing(Generated(kind=kind, classes=2, images_per_class=4))
    many_rows, many = packing(Generated(kind=kind, classes=2, images_per_class=9))
    few_at = {
        (label, index % 4): i for i, label, index in few_rows.select("row", "label", "index").rows()
    }
    many_at = {
        (label, index % 9): i
        for i, label, index in many_rows.select("row", "label", "index").rows()
    }
    for place, row in few_at.items():
        assert (few[row] == many[many_at[place]]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_generated_later_first_class_draws_the_same_images_of_those_classes(packing, kind):
    options = {"kind": kind, "images_per_class": 4}
    all_rows, all_images = packing(Generated(classes=5, **options))
    rows, images = packing(Generated(classes=2, first_class=3, **options))
    assert set(rows["class_name"]) == set(all_rows.filter(all_rows["label"] >= 3)["class_name"])
    row_of = {index: row for row, index in all_rows.select("row", "index").rows()}
    for row, index in rows.select("row", "index").rows():
        assert (images[row] == all_images[row_of[index + 3 * 4]]).all()


@pytest.mark.parametrize("module", [shapes, textures, letters])
@pytest.mark.parametrize("px", [8, 17, 32])
def test_generated_every_class_draws_at_any_size(module, px):
    assert len(set(module.CLASS_NAMES)) == 26
    for label in range(26):
        image = module.draw(label, px, numpy_generator(0, label))
        assert image.shape == (px, px, 3)
        assert image.dtype == numpy.uint8
        assert image.std() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_generated_classes_can_be_learned_from_pixels_only_so_far(packing, kind):
    """A forest on pixels beats chance by far, and is not perfect: the variation is real."""
    from sklearn.ensemble import RandomForestClassifier

    rows, images = packing(Generated(kind=kind, classes=8, images_per_class=60))
    # Orientation and outlines survive in what is bright and what is dark against the mean.
    grey = images.mean(1)
    flat = numpy.abs(grey - numpy.median(grey, axis=(1, 2), keepdims=True)).reshape(len(grey), -1)
    train = (rows["split"] == "train").to_numpy()
    labels = rows["label"].to_numpy()
    forest = RandomForestClassifier(200, random_state=0).fit(flat[train], labels[train])
    accuracy = forest.score(flat[~train], labels[~train])
    assert 0.3 < accuracy < 0.98
