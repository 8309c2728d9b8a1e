"""Models that learned next to nothing are named by what their cards say."""

from __future__ import annotations

import pytest

from xferpipe.config import load_study
from xferpipe.graph.weak_models import weak_models
from xferpipe.records import frame, write_table


@pytest.fixture
def study(tiny_study):
    return load_study(tiny_study)


def write(results, accuracy, images=200):
    card = {"model": "trained", "source_classes": 3, "source_accuracy": accuracy}
    write_table("zoo", frame("zoo", [card]), results / "zoo" / "trained" / "card.parquet")
    rows = [{"row": i, "split": "test" if i < images else "train"} for i in range(images + 50)]
    path = results / "manifest" / "source" / "manifest.parquet"
    write_table("manifest", frame("manifest", rows), path)


@pytest.mark.parametrize(("accuracy", "weak"), [(0.35, True), (0.5, False), (None, False)])
def test_model_near_chance_is_named_with_what_guessing_gives(study, tmp_path, accuracy, weak):
    write(tmp_path, accuracy)
    found = weak_models(study, tmp_path)
    assert bool(found) == weak
    if weak:
        assert found[0].startswith("trained has learned next to nothing: 0.350 of 200 test images")
        assert "guessing among 3 classes gives 0.333" in found[0]


def test_models_without_a_card_are_not_spoken_of(study, tmp_path):
    assert weak_models(study, tmp_path) == []
