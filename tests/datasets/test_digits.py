"""The digits reader against scikit-learn's own loader."""

from __future__ import annotations

import numpy
import polars
import pytest

from xferpipe.config.datasets import Digits


def test_digits_packed_images_and_labels_are_those_of_scikit_learn(packing):
    from sklearn.datasets import load_digits

    expected = load_digits()
    rows, images = packing(Digits(image_px=8))
    assert len(rows) == 1797
    assert rows["class_name"].to_list() == [str(expected.target[i]) for i in rows["index"]]
    grey = numpy.rint(expected.images[rows["index"].to_numpy()] * (255 / 16))
    for channel in range(3):
        assert (images[:, channel] == grey).all()


def test_digits_classes_in_another_order_are_labelled_in_that_order(packing):
    rows, images = packing(Digits(classes=(7, 2, 9)))
    names = rows.select("label", "class_name").unique().sort("label").rows()
    assert names == [(0, "7"), (1, "2"), (2, "9")]
    assert images.shape == (len(rows), 3, 16, 16)


def test_digits_test_split_is_a_stratified_part(listing):
    rows = listing(Digits(test_fraction=0.3))
    shares = rows.group_by("class_name").agg(share=(polars.col("split") == "test").mean())
    assert shares["share"].is_between(0.29, 0.31).all()


def test_digits_seed_draws_the_split_and_nothing_else(listing):
    first, again, other = (listing(Digits(), seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    tested = [set(rows.filter(polars.col("split") == "test")["index"]) for rows in (first, other)]
    assert tested[0] != tested[1]
    assert set(first["index"]) == set(other["index"])


@pytest.mark.parametrize("maximum", [1, 10])
def test_digits_limited_keeps_at_most_so_many_of_each_class_and_split(listing, maximum):
    rows = listing(Digits(maximum_images_per_class=maximum))
    assert rows.group_by("class_name", "split").len()["len"].to_list() == [maximum] * 20
