"""The cost stage: the card with what one image costs."""

from __future__ import annotations

import logging

from safetensors.torch import load_file

from xferpipe.records import read_table
from xferpipe.stages.cost import cost

COST = ("milliseconds", "gmacs", "weights_mib")


def measured(stages, model: str) -> tuple[dict, dict]:
    weights = stages.weights(model)
    card, out = weights.parent / "card.parquet", stages.folder / "cost.parquet"
    cost(stages.jobs("cost", model), card=card, weights=weights, cost=out)
    return tuple(read_table("zoo", path).row(0, named=True) for path in (card, out))


def test_cost_is_added_to_the_card_and_nothing_else_of_it_changes(stages):
    card, found = measured(stages, "trained")
    new = {name for name, value in found.items() if card[name] != value}
    assert new == {*COST, "image_px", "device", "compute_threads"}
    assert (found["image_px"], found["device"], found["compute_threads"]) == (16, "cpu", 1)
    assert found["milliseconds"] > 0
    # What the file holds, but for the classifier.
    tensors = load_file(stages.folder / "zoo/weights.safetensors")
    size = sum(value.nbytes for name, value in tensors.items() if not name.startswith("fc."))
    assert found["weights_mib"] * 2**20 == size


def test_side_is_the_models_own_else_the_largest_of_the_targets(stages):
    stages.study["datasets"]["large"] = stages.study["datasets"]["digits"] | {"image_px": 24}
    stages.study["targets"]["large"] = {"dataset": "large"}
    stages.study["zoo"]["own"] = stages.study["zoo"]["drawn"] | {"image_px": 12}
    assert [stages.jobs("cost", model).image_px for model in ("drawn", "own")] == [24, 12]


def test_model_that_takes_no_such_side_has_no_cost(stages, monkeypatch, caplog):
    def refuse(model, px):
        raise AssertionError(f"Input height ({px}) doesn't match model (224).")

    monkeypatch.setattr("xferpipe.stages.cost.cost_of", refuse)
    with caplog.at_level(logging.WARNING):
        _, found = measured(stages, "drawn")
    assert [found[name] for name in COST] == [None] * 3
    assert "Input height (16) doesn't match" in caplog.text
