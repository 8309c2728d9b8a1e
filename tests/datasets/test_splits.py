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


def within_shots(**fields) -> Target:
    return Target(dataset="set", validation="within_shots", **fields)


@LAWS
@given(
    counts=CLASSES, seed=st.integers(0, 99), fraction=st.floats(0.05, 0.9), shots=st.integers(2, 4)
)
def test_validation_within_shots_shares_out_the_labelled_images_and_no_other(
    rows_of, counts, seed, fraction, shots
):
    rows = rows_of({name: {"train": n, "test": 2} for name, n in counts.items()})
    target = within_shots(validation_fraction=min(fraction, 0.4))
    train = splits.training_rows(rows, target, shots, seed)
    validation = splits.validation_rows(rows, target, seed, shots)
    labelled = splits.training_rows(
        rows, target.model_copy(update={"validation": "split"}), shots, seed
    )
    assert sorted([*train.rows, *validation.rows]) == labelled.rows.tolist()
    held_out = min(max(round(shots * target.validation_fraction), 1), shots - 1)
    assert numpy.bincount(validation.labels).tolist() == [held_out] * len(counts)
    assert numpy.bincount(train.labels).tolist() == [shots - held_out] * len(counts)
    assert train.class_names == validation.class_names == tuple(sorted(counts))


def test_validation_within_shots_of_full_is_that_of_the_split(rows_of, target):
    rows = rows_of({name: {"train": 30, "test": 2} for name in "ab"})
    for within, split in (
        (
            splits.training_rows(rows, within_shots(), "full", 3),
            splits.training_rows(rows, target, "full", 3),
        ),
        (
            splits.validation_rows(rows, within_shots(), 3, "full"),
            splits.validation_rows(rows, target, 3, "full"),
        ),
    ):
        assert within.rows.tolist() == split.rows.tolist()


def test_validation_within_shots_looks_at_no_official_validation_image(rows_of):
    rows = rows_of({name: {"train": 9, "validation": 4, "test": 2} for name in "ab"})
    validation = splits.validation_rows(rows, within_shots(), 0, 5)
    assert set(rows[validation.rows]["split"]) == {"train"}
    assert len(validation) == 2


def test_validation_within_one_shot_is_empty_and_training_has_the_image(rows_of):
    rows = rows_of({name: {"train": 9, "test": 2} for name in "ab"})
    assert len(splits.validation_rows(rows, within_shots(), 0, 1)) == 0
    assert len(splits.training_rows(rows, within_shots(), 1, 0)) == 2


def test_draws_per_seed_differ_by_the_seed_of_the_run_and_nest(rows_of, target):
    rows = rows_of({name: {"train": 50, "test": 2} for name in "ab"})
    per_seed = target.model_copy(update={"draws": "per_seed"})

    def drawn(about, shots, run_seed):
        return splits.training_rows(rows, about, shots, 0, run_seed=run_seed).rows.tolist()

    assert len({tuple(drawn(per_seed, 5, seed)) for seed in range(6)}) == 6
    assert len({tuple(drawn(target, 5, seed)) for seed in range(6)}) == 1
    assert drawn(per_seed, 5, 4) == drawn(per_seed, 5, 4)
    assert set(drawn(per_seed, 5, 4)) <= set(drawn(per_seed, 9, 4)) < set(drawn(target, "full", 4))
    assert drawn(per_seed, "full", 0) == drawn(per_seed, "full", 1)
    assert {
        tuple(splits.validation_rows(rows, per_seed, 0, 5, run_seed=seed).rows) for seed in range(3)
    } == {tuple(splits.validation_rows(rows, target, 0).rows)}


@pytest.mark.parametrize("changed", [{"draws": "per_seed"}, {"validation": "within_shots"}])
def test_probe_rows_are_the_studys_draw_however_runs_draw_and_validate(rows_of, target, changed):
    rows = rows_of({name: {"train": 50, "test": 2} for name in "ab"})
    probe = Probe(images_per_class=5)
    other = target.model_copy(update=changed)
    assert (
        splits.probe_rows(rows, other, 5, probe, 0).rows.tolist()
        == splits.probe_rows(rows, target, 5, probe, 0).rows.tolist()
        == splits.training_rows(rows, target, 5, 0).rows.tolist()
    )


IDENTITIES = st.dictionaries(
    st.integers(1, 60).map(str), st.integers(min_value=2, max_value=7), min_size=4
)


@LAWS
@given(counts=IDENTITIES, seed=st.integers(0, 99), fraction=st.floats(0.05, 0.95))
def test_retrieval_parts_share_no_identity_and_number_their_own(rows_of, counts, seed, fraction):
    rows = rows_of({name: {"train": n, "query": 1, "gallery": 1} for name, n in counts.items()})
    target = Target(dataset="set", task="retrieval", validation_fraction=fraction)
    train = splits.training_rows(rows, target, "full", seed)
    held_out = splits.validation_rows(rows, target, seed)
    trained = rows.filter(polars.col("split") == "train")["row"].to_list()
    assert sorted([*train.rows, *held_out.rows]) == trained
    assert not set(train.class_names) & set(held_out.class_names)
    assert len(held_out.class_names) == min(max(round(len(counts) * fraction), 2), len(counts) - 2)
    for part in (train, held_out):
        names = [part.class_names[label] for label in part.labels]
        assert names == rows[part.rows]["class_name"].to_list()
        assert set(names) == set(part.class_names)
    again = splits.validation_rows(rows, target, seed)
    assert again.rows.tolist() == held_out.rows.tolist()


def test_retrieval_within_shots_validates_on_the_shots_of_held_out_identities(rows_of):
    rows = rows_of({f"{i:02}": {"train": 6, "query": 1, "gallery": 1} for i in range(10)})
    fields = {"dataset": "set", "task": "retrieval", "validation_fraction": 0.3}
    split = Target(**fields)
    within = split.model_copy(update={"validation": "within_shots"})
    assert splits.training_rows(rows, within, 4, 0).rows.tolist() == (
        splits.training_rows(rows, split, 4, 0).rows.tolist()
    )
    few, all_of_them = (splits.validation_rows(rows, one, 0, 4) for one in (within, split))
    assert few.class_names == all_of_them.class_names
    assert set(few.rows) < set(all_of_them.rows)
    assert numpy.bincount(few.labels).tolist() == [4] * 3
    assert len(splits.validation_rows(rows, within, 0, 1)) == 0


def test_retrieval_held_out_identities_mostly_stay_when_one_more_comes(rows_of):
    counts = {f"{i:02}": {"train": 3, "query": 1, "gallery": 1} for i in range(40)}
    target = Target(dataset="set", task="retrieval")
    before = set(splits.validation_rows(rows_of(counts), target, 0).class_names)
    counts["99"] = counts["00"]
    after = set(splits.validation_rows(rows_of(counts), target, 0).class_names)
    assert len(before) == len(after) == 8
    assert len(before - after) <= 1


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([5, 5, 5], "3 identities, 3 of them with 2 images or more"),
        ([1, 1, 1, 1, 5], "5 identities, 1 of them with 2 images or more"),
    ],
)
def test_retrieval_too_few_identities_says_what_is_needed(rows_of, images, words):
    rows = rows_of({str(i): {"train": n, "query": 1, "gallery": 1} for i, n in enumerate(images)})
    target = Target(dataset="set", task="retrieval")
    with pytest.raises(DatasetError, match=words):
        splits.training_rows(rows, target, "full", 0)


def test_retrieval_identities_of_one_image_are_never_held_out(rows_of):
    counts = dict.fromkeys(map(str, range(10)), 1) | {"98": 2, "99": 3}
    rows = rows_of({name: {"train": n, "query": 1, "gallery": 1} for name, n in counts.items()})
    target = Target(dataset="set", task="retrieval", validation_fraction=0.5)
    assert splits.validation_rows(rows, target, 0).class_names == ("98", "99")
