"""What is said of the names of classes that can be used."""

from __future__ import annotations

import polars
import pytest

from xferpipe.datasets.class_names import class_texts, in_order, numbers_or_names, remarks


def counts(*names, each=10):
    return dict.fromkeys(map(str, names), each)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (
            counts(*range(20, 40)),
            "its 20 classes are whole numbers from 20 to 39: if they are quan",
        ),
        (counts(*range(1, 91), each=3), "its 90 classes are whole numbers from 1 to 90"),
        (counts(*range(0, 1000, 100)), "its 10 classes are whole numbers from 0 to 900"),
        (counts("cat", "dog", "cat+dog"), "several labels of one image: cat+dog (10)"),
        (counts("cat", "dog", "cat, dog"), "several labels of one image: cat, dog (10)"),
        (counts("bird;red", "bird;blue"), "bird;blue (10), bird;red (10); each is a class"),
        (
            counts("Dog", "dog", "DOG", "cat"),
            "lower case alone: DOG (10) and Dog (10) and dog (10)",
        ),
        (counts("NA", "dog", "cat"), "may mean that there is no label: NA (10)"),
    ],
)
def test_remarks_name_classes_and_counts(classes, says):
    (found,) = remarks(classes)
    assert says in found


@pytest.mark.parametrize(
    "classes",
    [
        counts(*range(10)),
        counts(*range(1, 101)),
        counts(*range(30, 39)),
        counts(*(f"{i:03}" for i in range(20, 40))),
        counts("black/white", "black", "brown"),
        counts("Washington, D.C.", "Smith, John", "Smith, Jane", "R&D"),
        counts("a", "b", "none"),
    ],
    ids=["digits", "hundred", "grades", "codes", "slash", "commas", "none"],
)
def test_ordinary_names_are_not_remarked_on(classes):
    assert remarks(classes) == []


def test_names_are_in_the_order_of_their_values_where_all_are_numbers():
    assert in_order(["10", "9", "-3", "007", "1e1"]) == ["-3", "007", "9", "10", "1e1"]
    assert in_order(["10", "9", "x"]) == ["10", "9", "x"]


@pytest.mark.parametrize("missing", ["", "  ", "nan", "NaN", None])
def test_text_without_a_value_is_missing(missing):
    found = class_texts(polars.Series("label", ["1", missing, "2"]))
    assert found.to_list() == ["1", None, "2"]
    assert numbers_or_names(found).to_list() == [1, None, 2]


def test_numbers_of_any_length_are_names_like_others():
    names = [str(i) * 5000 for i in range(1, 10)] + ["0", "7.0"]
    assert class_texts(polars.Series("label", names)).to_list()[-2:] == ["0", "7"]
    assert "its 10 classes are whole numbers from 0" in remarks(counts(*names[:10]))[0]


def test_numbers_beyond_64_bits_or_with_zeros_in_front_stay_names():
    for texts in (["9" * 30, "1"], ["01", "02"], ["1", "x"]):
        assert numbers_or_names(polars.Series(texts)).to_list() == texts
