"""Laws of the splits: nothing overlaps, few shots nest, every draw is the seed's."""

from __future__ import annotations

import numpy
import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xferpipe.config.datasets import Digits, Generated
from xferpipe.config.scores import Probe
from xferpipe.config.study import Target
from xferpipe.datasets import splits
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.readers import digits, generated
from xferpipe.records import empty

CLASSES = st.dictionaries(
    st.sampled_from(["ant", "bee", "cat", "dog", "elk"]),
    st.integers(min_value=8, max_value=40),
    min_size=2,
)
LAWS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@LAWS
@given(counts=CLASSES, seed=st.integers(0, 99), fraction=st.floats(0.05, 0.6))
def test_validation_rows_any_counts_share_no_image_and_leave_every_class_in_training(
    rows_of, counts, seed, fraction
):
    rows = rows_of({name: {"train": n, "test": 2} for name, n in counts.items()})
    target = Target(dataset="set", validation_fraction=fraction)
    train = splits.training_rows(rows, target, "full", seed)
    validation = splits.validation_rows(rows, target, seed)
    test = splits.test_rows(rows, target)
    together = numpy.concatenate([train.rows, validation.rows, test.rows])
    assert sorted(together.tolist()) == list(range(len(rows)))
    for label, name in enumerate(sorted(counts)):
        held_out = int((validation.labels == label).sum())
        assert held_out == min(max(round(counts[name] * fraction), 1), counts[name] - 1)
        assert (train.labels == label).sum() == counts[name] - held_out


@LAWS
@given(counts=CLASSES, seed=st.integers(0, 99), few=st.integers(1, 3), more=st.integers(3, 6))
def test_training_rows_fewer_shots_nest_in_more(rows_of, counts, seed, few, more):
    rows = rows_of({name: {"train": n, "test": 2} for name, n in counts.items()})
    target = Target(dataset="set")
    small, large, full = (
        splits.training_rows(rows, target, shots, seed) for shots in (few, more, "full")
    )
    assert set(small.rows) <= set(large.rows) <= set(full.rows)
    assert numpy.bincount(small.labels).tolist() == [few] * len(counts)
    assert numpy.bincount(large.labels).tolist() == [more] * len(counts)


def test_training_rows_another_seed_draws_other_images(rows_of, target):
    rows = rows_of({name: {"train": 50, "test": 2} for name in "ab"})
    draws = {tuple(splits.training_rows(rows, target, 5, seed).rows) for seed in range(6)}
    assert len(draws) == 6


def test_validation_rows_any_shots_are_the_same_images(rows_of, target):
    rows = rows_of({name: {"train": 30, "test": 2} for name in "ab"})
    validation = set(splits.validation_rows(rows, target, 3).rows)
    for shots in (1, 5, 24, "full"):
        assert not validation & set(splits.training_rows(rows, target, shots, 3).rows)


def test_validation_rows_official_split_is_taken_whole(rows_of, target):
    rows = rows_of({name: {"train": 9, "validation": 4, "test": 2} for name in "ab"})
    assert len(splits.validation_rows(rows, target, 0)) == 8
    assert len(splits.training_rows(rows, target, "full", 0)) == 18


def test_training_rows_too_many_shots_names_class_count_and_allowed(rows_of, target):
    rows = rows_of({"many": {"train": 40, "test": 2}, "rare": {"train": 10, "test": 2}})
    with pytest.raises(
        DatasetError, match=r"shots 20 .*class 'rare', which has 8 .*1 to 8, or full"
    ):
        splits.training_rows(rows, target, 20, 0)
    assert len(splits.training_rows(rows, target, 8, 0)) == 16


@LAWS
@given(
    images=st.integers(4, 60),
    test_fraction=st.floats(0.05, 0.9),
    validation_fraction=st.floats(0.05, 0.9),
    most=st.none() | st.integers(2, 30),
)
def test_training_images_foretold_by_the_study_are_those_of_the_manifest(
    images, test_fraction, validation_fraction, most
):
    """The study refuses shots before any job starts; it must count as the splits do."""
    dataset = Generated(
        kind="letters",
        classes=2,
        images_per_class=images,
        test_fraction=test_fraction,
        maximum_images_per_class=most,
    )
    foretold = dataset.training_images(validation_fraction)
    rows = polars.concat(
        [empty("manifest").drop("row"), generated.read(dataset, root=None, seed=0)], how="diagonal"
    )
    rows = splits.at_most(splits.with_test_split(rows, test_fraction, 0), most, 0)
    rows = rows.with_columns(row=polars.int_range(len(rows), dtype=polars.Int64))
    target = Target(dataset="set", validation_fraction=validation_fraction)
    train = splits.training_rows(rows, target, "full", 0)
    assert numpy.bincount(train.labels).tolist() == list(foretold.values())


def test_training_images_of_digits_are_those_of_the_manifest(listing, target):
    dataset = Digits(classes=(8, 1, 5))
    train = splits.training_rows(listing(dataset), target, "full", 0)
    foretold = dataset.training_images(target.validation_fraction)
    assert dict(zip(train.class_names, numpy.bincount(train.labels), strict=True)) == foretold


def test_validation_rows_single_images_say_that_nothing_can_be_held_out(rows_of, target):
    rows = rows_of({name: {"train": 1, "test": 1} for name in "ab"})
    with pytest.raises(DatasetError, match="no class has two training images"):
        splits.validation_rows(rows, target, 0)


@pytest.mark.parametrize("shots", [5, "full"])
def test_probe_rows_limited_is_a_part_of_the_training_rows(rows_of, target, shots):
    rows = rows_of({name: {"train": 60, "test": 20} for name in "abc"})
    train = splits.training_rows(rows, target, shots, 0)
    probe = splits.probe_rows(rows, target, shots, Probe(images_per_class=25), 0)
    assert set(probe.rows) <= set(train.rows)
    assert numpy.bincount(probe.labels).tolist() == [min(25, 5 if shots == 5 else 48)] * 3
    assert not set(probe.rows) & set(splits.test_rows(rows, target).rows)
    assert len(splits.probe_rows(rows, target, shots, Probe(images_per_class=None), 0)) == len(
        train
    )


def test_test_rows_without_test_split_says_which_splits_there_are(rows_of, target):
    rows = rows_of({name: {"train": 3} for name in "ab"})
    with pytest.raises(DatasetError, match=r"no test split \(splits: train\)"):
        splits.test_rows(rows, target)


def test_test_rows_retrieval_target_is_refused(rows_of):
    rows = rows_of({name: {"train": 3, "query": 1, "gallery": 1} for name in "ab"})
    with pytest.raises(DatasetError, match="query and gallery"):
        splits.test_rows(rows, Target(dataset="set", task="retrieval"))


def test_split_rows_identities_with_gaps_become_dense_labels(rows_of):
    rows = rows_of({name: {"train": 2} for name in "abcd"})
    rows = rows.with_columns(
        split=polars.when(polars.col("class_name").is_in(["a", "c"]))
        .then(polars.lit("gallery"))
        .otherwise(polars.col("split"))
    )
    train = splits.split_rows(rows, "train")
    assert train.class_names == ("b", "d")
    assert sorted(set(train.labels.tolist())) == [0, 1]


def test_split_rows_untrained_class_is_named(rows_of):
    rows = rows_of({"a": {"train": 2, "test": 1}, "b": {"train": 2}, "z": {"test": 1}})
    with pytest.raises(DatasetError, match="z"):
        splits.split_rows(rows, "test")


def test_with_test_split_other_classes_added_keeps_each_image_on_its_side():
    """A digit that tests one target must never train a source made of more digits."""

    def testing(classes):
        rows = digits.read(Digits(classes=classes), root=None, seed=0)
        rows = rows.with_columns(path=polars.lit(None, polars.String))
        rows = splits.with_test_split(rows, 0.2, 7)
        return set(rows.filter(polars.col("split") == "test")["index"])

    of_five = digits.read(Digits(classes=(5, 6)), root=None, seed=0)["index"]
    assert testing((5, 6)) == testing((0, 5, 2, 6)) & set(of_five)


def test_with_test_split_listed_in_another_order_tests_the_same_images(rows_of):
    """A folder is listed in another order on another disk."""
    rows = rows_of({name: {None: 20} for name in "ab"})
    tested = [
        set(splits.with_test_split(order, 0.2, 0).filter(polars.col("split") == "test")["index"])
        for order in (rows, rows.reverse(), rows.sample(fraction=1, shuffle=True, seed=1))
    ]
    assert tested[0] == tested[1] == tested[2]


def test_with_test_split_train_and_validation_only_tests_on_validation(rows_of):
    rows = rows_of({name: {"train": 3, "validation": 2} for name in "ab"})
    assert splits.with_test_split(rows, 0.2, 0)["split"].value_counts().sort("split").rows() == [
        ("test", 4),
        ("train", 6),
    ]


def test_with_test_split_some_rows_without_split_are_counted(rows_of):
    rows = rows_of({"a": {"train": 3, None: 2}})
    with pytest.raises(DatasetError, match="2 of 5 images have no split"):
        splits.with_test_split(rows, 0.2, 0)


def test_at_most_limits_each_class_and_split(rows_of):
    rows = rows_of({"a": {"train": 9, "test": 3}, "b": {"train": 2, "test": 5}})
    kept = (
        splits.at_most(rows, 4, 0).group_by("class_name", "split").len().sort("class_name", "split")
    )
    assert kept.rows() == [("a", "test", 3), ("a", "train", 4), ("b", "test", 4), ("b", "train", 2)]
