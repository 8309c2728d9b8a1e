"""Labels of two sides that come from two files."""

from __future__ import annotations

import io

import polars
import pytest

from xferpipe.retrieval import sides


def both(query: list, gallery: list, name: str = "identity") -> sides.Sides:
    return sides.alike(polars.Series(name, query), polars.Series(name, gallery))


def values(found: sides.Sides) -> tuple[list, list]:
    return found.query.to_list(), found.gallery.to_list()


@pytest.mark.parametrize(
    ("query", "gallery", "numbers"),
    [
        (["0990", "0991"], [990, 991], ([990, 991], [990, 991])),
        ([990, 991], ["0990", "991"], ([990, 991], [990, 991])),
        (["0990"], ["990", "7"], ([990], [990, 7])),
        ([" 12 "], [12.0, float("nan")], ([12], [12, None])),
        (["person_7", "person_8"], [7, 8], ([7, 8], [7, 8])),
        (["-1", "3"], [-1, 3], ([-1, 3], [-1, 3])),
        (["", "3"], [3], ([None, 3], [3])),
        ([1, None], [None, None], ([1, None], [None, None])),
    ],
)
def test_identities_written_in_two_ways_are_one_type(query, gallery, numbers) -> None:
    assert values(both(query, gallery)) == numbers


@pytest.mark.parametrize(
    ("query", "gallery", "numbers"),
    [
        (["c1", "c2"], [1, 2], ([1, 2], [1, 2])),
        (["c1", "c2"], ["c001", "c002"], ([1, 2], [1, 2])),
        (["c1"], ["cam_1"], ([1], [1])),
        (["Camera 3"], ["C3"], ([3], [3])),
        (["entrance", "exit"], ["exit", "hall"], (["entrance", "exit"], ["exit", "hall"])),
        (["c1", "hall"], [1, 2], (["c1", "hall"], ["1", "2"])),
    ],
)
def test_cameras_of_two_spellings_are_one_type(query, gallery, numbers) -> None:
    assert values(both(query, gallery, "camera")) == numbers


@pytest.mark.parametrize(
    ("query", "gallery"),
    [
        (["1", "01"], ["1", "2"]),  # Two names of one side stay two.
        (["a1", "a2"], ["b1", "b2"]),  # Another word is another thing.
        (["a1", "b1"], ["a1", "b2"]),
        (["12345678901234567890"], ["1"]),
    ],
)
def test_names_that_only_look_like_numbers_stay_names(query, gallery) -> None:
    assert values(both(query, gallery)) == (query, gallery)


def test_numbers_that_are_read_from_text_are_told_with_examples() -> None:
    note = both(["0990"], [990]).note
    assert "'0990' of the queries" in note
    assert "'990' of the gallery" in note
    assert both([1], [1]).note is None
    assert both(["1"], [1]).note is None


@pytest.mark.parametrize("strange", [1.5, float("inf")])
def test_fraction_is_no_label(strange) -> None:
    with pytest.raises(ValueError, match="'identity' holds"):
        both([strange], [1])


def test_list_is_no_label() -> None:
    with pytest.raises(ValueError, match="has type List"):
        both([[1]], [1])


def test_wide_integers_are_read() -> None:
    wide = polars.Series("identity", [3, 4]).cast(polars.Int128)
    assert values(sides.alike(wide, polars.Series("identity", ["3"]))) == ([3, 4], [3])


def test_spaces_of_headers_and_texts_are_none_of_them() -> None:
    table = sides.stripped(polars.read_csv(io.StringIO("identity, camera\n7, c1\n")))
    assert table.columns == ["identity", "camera"]
    assert table["camera"].to_list() == ["c1"]
    assert sides.headers(["\ufeffidentity"]) == {"\ufeffidentity": "identity"}


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'camera' is there more than once"):
        sides.headers(["camera", " camera"])


def frame(identity: list, camera: list) -> polars.DataFrame:
    return polars.DataFrame(
        {"identity": identity, "camera": camera},
        schema={"identity": polars.Int64, "camera": polars.Int64},
    )


def test_cameras_of_one_side_only_are_found() -> None:
    (found,) = sides.findings(frame([1, 2], [1, 1]), frame([1, 2], [3, 4]))
    assert "no camera is on both sides (queries: 1; gallery: 3, 4)" in found
    assert sides.findings(frame([1], [1]), frame([1], [2]), junk_rule="none") == []
    assert sides.findings(frame([1], [None]), frame([1], [2])) == []
    assert sides.findings(frame([1], [1]), frame([1, 1], [1, 2])) == []


def test_many_queries_without_their_identity_are_found() -> None:
    query, gallery = frame([1, 2, 9, 10], [1] * 4), frame([1, 2, 3], [1] * 3)
    (found,) = sides.findings(query, gallery)
    assert "2 of 4 queries have an identity that the gallery has not (queries: 9, 10;" in found
    assert sides.findings(query[:3], gallery) == []
