"""What is trained, at what rate, with what decay; what is frozen does not move by a bit."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.config.surgery import Surgery
from xferpipe.training.loop import fit
from xferpipe.training.parameters import (
    freeze,
    groups,
    laid_out,
    moving_batch_norms,
    named,
    optimiser,
    refresh_statistics,
)
from xferpipe.zoo.surgery import operate

RECIPE = {"epochs": 1, "batch_size": 16, "lr": 0.1}
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


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("opt", "made"),
    [
        ("sgd", partial(torch.optim.SGD, momentum=0.8)),
        ("sgd_nesterov", partial(torch.optim.SGD, momentum=0.8, nesterov=True)),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
    ],
)
def test_optimiser_steps_as_torchs_of_its_name(model, opt, made, fused):
    ours, theirs = model(), model()
    recipe = Recipe(opt=opt, lr=0.05, momentum=0.8, weight_decay=0.1, fused=fused)
    both = (
        (ours, optimiser(ours, recipe)),
        (theirs, made(theirs.parameters(), lr=0.05, weight_decay=0.1)),
    )
    for number in range(3):
        for network, steps in both:
            for parameter in network.parameters():
                parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
            steps.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_shift_of_a_bnneck_stays_at_zero(model):
    network = model()
    operate(network, Surgery(head="bnneck"), outputs=3, seed=0)
    freeze(network, Recipe())
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {"fc.bn.bias"}


def test_layer_lrs_that_overlap_are_an_error(model):
    with pytest.raises(ValueError, match=r"both mean conv1\.weight"):
        groups(model(), Recipe(layer_lrs={"stem": 1.0, "conv1.*": 2.0}))


def test_unknown_layer_is_an_error_that_names_the_allowed_ones(model):
    with pytest.raises(ValueError, match=r"names no parameter.*stage3"):
        named(model(), "stage9")


@pytest.mark.parametrize(
    ("options", "moving"),
    [
        ({}, "all"),
        ({"freeze_bn": "all"}, "none"),
        ({"train_layers": ["head", "stage2"], "freeze_bn": "frozen_layers"}, "stage2"),
        ({"train_layers": ["head", "stage2"], "freeze_bn": "none"}, "all"),
    ],
)
def test_refreshed_statistics_are_those_that_training_moves(model, data, options, moving):
    recipe, network = Recipe(**RECIPE | options), model()
    freeze(network, recipe)
    before = copy.deepcopy(network.state_dict())
    images = [images for images, _ in data(48).evaluation(16)]
    refresh_statistics(network.eval(), recipe, images)
    norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    if moving != "all":
        norms = {name for name in norms if moving == "stage2" and name.startswith("layer2.")}
    assert {name.rpartition(".")[0] for name in changed(network, before)} == norms
    found = {id(module) for module in moving_batch_norms(network, recipe)}
    assert found == {id(network.get_submodule(name)) for name in norms}
    assert not network.training
    assert all(network.get_submodule(name).momentum == 0.1 for name in norms)


def test_refreshed_statistics_are_those_of_update_bn_where_all_move(model, data):
    recipe, network = Recipe(**RECIPE), model()
    other = copy.deepcopy(network)
    images = [images for images, _ in data(48).evaluation(16)]
    refresh_statistics(network, recipe, images)
    torch.optim.swa_utils.update_bn(images, other)
    for name, value in other.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_values_are_laid_out_as_their_parameter():
    parameter = nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    momentum = torch.randn(4, 3, 2, 2)
    found = laid_out({"momentum_buffer": momentum, "step": torch.tensor(3.0), "n": 1}, parameter)
    assert found["momentum_buffer"].stride() == parameter.stride() != momentum.stride()
    assert torch.equal(found["momentum_buffer"], momentum)
    assert (found["step"], found["n"]) == (3.0, 1)
