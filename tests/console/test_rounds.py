"""A round of a race in words."""

import pytest

from xferpipe.console.rounds import round_words
from xferpipe.records import frame, write_table


def told(tmp_path, *rows):
    path = tmp_path / "decision.parquet"
    columns = ("model", "recipe", "first_seed", "chosen", "named", "stopped")
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    write_table("decisions", frame("decisions", named), path)
    return round_words(path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "sgd", 0, 1, False, None)], "next a with sgd, seed 0"),
        (
            [("a", "sgd", 1, 2, False, None), ("b", "sgd", 0, 0, False, None)],
            "next a with sgd, seed 1; a with sgd, seed 2",
        ),
        (
            [("a", "sgd", 1, 2, False, None), ("b", "sgd", 0, 2, False, None)],
            "next a with sgd, seed 1; a with sgd, seed 2; and 2 more",
        ),
        (
            [("a", "sgd", 1, 0, False, "the budget is spent")],
            "the race ends, the budget is spent",
        ),
        (
            [("a", "sgd", 1, 0, False, "it is sure"), ("b", "head", 1, 0, True, "it is sure")],
            "the race ends, it is sure; the best is b with head",
        ),
    ],
)
def test_round_says_what_is_next_or_why_the_race_ends(tmp_path, rows, words):
    assert told(tmp_path, *rows) == words


def test_round_that_cannot_be_read_is_passed_over(tmp_path):
    assert round_words(tmp_path / "nothing.parquet") == ""
