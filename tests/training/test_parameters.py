"""What is trained, at what rate, with what decay; what is frozen does not move by a bit."""

from __future__ import annotations

import copy

import pytest
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.training.loop import fit
from xferpipe.training.parameters import groups, named

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def changed(model, before) -> set[str]:
    after = model.state_dict()
    return {name for name in after if not torch.equal(after[name], before[name])}


@pytest.mark.parametrize(
    ("layers", "parts"),
    [
        ("head", ("fc.",)),
        (("head", "stem"), ("fc.", "conv1.", "bn1.")),
        (("head", "stem_convolution"), ("fc.", "conv1.")),
        (("head", "stage2"), ("fc.", "layer2.")),
        (("layer3.0.conv*",), ("layer3.0.conv",)),
    ],
)
def test_frozen_parameters_and_statistics_do_not_move_by_a_bit(model, data, layers, parts):
    network = model()
    before = copy.deepcopy(network.state_dict())
    fit(
        network,
        Recipe(epochs=1, batch_size=8, lr=0.1, train_layers=layers, select="last"),
        data(),
        None,
        seed=0,
    )
    moved = changed(network, before)
    assert moved
    assert all(name.startswith(parts) for name in moved)
    assert {part for part in parts if any(name.startswith(part) for name in moved)} == set(parts)


def test_statistics_of_frozen_layers_move_when_asked(model, data):
    network = model()
    before = copy.deepcopy(network.state_dict())
    recipe = Recipe(epochs=1, batch_size=8, train_layers="head", freeze_bn="none", select="last")
    fit(network, recipe, data(), None, seed=0)
    moved = changed(network, before)
    assert {name for name in moved if not name.startswith("fc.")} == {
        name for name in before if name.endswith(STATISTICS)
    }


def test_freeze_bn_all_keeps_scale_shift_and_statistics(model, data):
    network = model()
    before = copy.deepcopy(network.state_dict())
    fit(
        network,
        Recipe(epochs=1, batch_size=8, freeze_bn="all", select="last"),
        data(),
        None,
        seed=0,
    )
    moved = changed(network, before)
    assert "layer1.0.conv1.weight" in moved
    assert not any("bn" in name for name in moved)


def test_group_rates_and_decays_follow_the_recipe(model):
    network = model()
    recipe = Recipe(
        lr=5e-3, layer_lrs={"stem_convolution": 7e-3, "head": 1e-2}, norm_weight_decay=0.0
    )
    found = {}
    names = {parameter: name for name, parameter in network.named_parameters()}
    for group in groups(network, recipe):
        for parameter in group["params"]:
            found[names[parameter]] = (group["peak"], group["weight_decay"])
    assert set(found) == set(names.values())
    assert found["conv1.weight"] == (7e-3, 1e-4)
    assert found["bn1.weight"] == (5e-3, 0.0)
    assert found["fc.bias"] == (1e-2, 1e-4)
    assert found["layer2.0.bn1.bias"] == (5e-3, 0.0)
    assert found["layer2.0.conv1.weight"] == (5e-3, 1e-4)


def test_layer_lrs_that_overlap_are_an_error(model):
    with pytest.raises(ValueError, match=r"both mean conv1\.weight"):
        groups(model(), Recipe(layer_lrs={"stem": 1.0, "conv1.*": 2.0}))


def test_unknown_layer_is_an_error_that_names_the_allowed_ones(model):
    with pytest.raises(ValueError, match=r"names no parameter.*stage3"):
        named(model(), "stage9")
