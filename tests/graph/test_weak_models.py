"""Models that learned next to nothing are named by what their cards say."""

from __future__ import annotations

import pytest

from xferpipe.config import load_study
from xferpipe.graph.weak_models import weak_models
from xferpipe.records import frame, write_table


@pytest.fixture
def study(tiny_study):
    return load_study(tiny_study)


@pytest.mark.parametrize("weak", [True, False, None])
def test_model_near_chance_is_named_with_what_guessing_gives(study, tmp_path, weak):
    card = {"model": "trained", "source_classes": 3, "source_accuracy": 0.35, "near_chance": weak}
    write_table("zoo", frame("zoo", [card]), tmp_path / "zoo" / "trained" / "card.parquet")
    found = weak_models(study, tmp_path)
    assert bool(found) == bool(weak)
    for words in found:
        assert words.startswith("trained has learned next to nothing: 0.350 of the test images")
        assert "guessing among 3 classes gives 0.333" in words


def test_models_without_a_card_are_not_spoken_of(study, tmp_path):
    assert weak_models(study, tmp_path) == []
