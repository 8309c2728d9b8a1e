import math

import numpy
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from xferpipe.config.minimisers import LocalEnergy
from xferpipe.minimisers.distances import weight_distances
from xferpipe.minimisers.energy import local_energy
from xferpipe.minimisers.probe_images import error_and_loss
from xferpipe.minimisers.solution import (
    load_state,
    refresh_batch_norm,
    restored,
    state_of,
)
from xferpipe.zoo.normalisation import normalisation_parameters


def equal(first: dict, second: dict) -> bool:
    return set(first) == set(second) and all(torch.equal(first[k], second[k]) for k in first)


class Bowl(nn.Module):
    """E(w) = 1/2 sum_i a_i w_i^2, whose local energy is sigma^2 / 2 sum_i a_i w_i^2."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.first = nn.Parameter(torch.randn(40, 5, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(30, dtype=torch.float64))
        self.curvature = [torch.rand_like(self.first) + 0.1, torch.rand_like(self.second) + 0.1]

    def value(self) -> float:
        weights = (self.first, self.second)
        return sum(
            0.5 * (a * w.detach() ** 2).sum().item()
            for a, w in zip(self.curvature, weights, strict=True)
        )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_local_energy_of_a_bowl_lies_within_its_interval(seed):
    bowl = Bowl()
    energy = LocalEnergy(sigmas=(0.05, 0.2, 0.5), draws=200)
    exact = bowl.value()
    readings = local_energy(
        bowl, lambda m: {"loss": m.value()}, energy, seed=seed, images=0, confidence=0.99
    )
    for reading in readings:
        closed_form = reading.intensity**2 * exact
        assert reading.low < closed_form < reading.high
        assert reading.repeats == 200
    # At a large sigma the interval is narrow enough to tell the form from half or twice of it.
    assert reading.high - reading.low < closed_form


def test_local_energy_leaves_every_bit_and_mode(network, make_images):
    images = make_images()
    network.train()
    before = state_of(network)
    local_energy(
        network,
        lambda m: error_and_loss(m, images),
        LocalEnergy(sigmas=(0.1, 0.7), draws=2),
        seed=0,
        images=len(images),
        refresh=lambda m: refresh_batch_norm(m, images),
    )
    assert equal(before, state_of(network))
    assert all(module.training for module in network.modules())


def test_restored_survives_an_exception_bit_for_bit(network):
    before = state_of(network)

    @torch.no_grad()
    def fail_half_way():
        with restored(network):
            for tensor in [*network.parameters(), *network.buffers()]:
                tensor.add_(1)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_half_way()
    assert equal(before, state_of(network))


def test_local_energy_of_no_noise_is_zero_and_grows_with_sigma(network, make_images):
    images = make_images(60)
    logits = network(next(iter(images.in_batches_of(60)))[0])
    images.labels = logits.argmax(1)  # a perfect solution: any change costs
    readings = local_energy(
        network,
        lambda m: error_and_loss(m, images),
        LocalEnergy(sigmas=(0.0, 0.1, 1.0), draws=6),
        seed=0,
        images=60,
    )
    found = {(r.intensity, r.measure): r.value for r in readings}
    assert found[0.0, "error"] == 0
    assert found[0.0, "loss"] == 0
    assert 0 <= found[0.1, "error"] < found[1.0, "error"]


def test_local_energy_any_batch_size_gives_the_same_figures(make_network, make_images):
    network = make_network().double()
    readings = []
    for size in (3, 37):
        images = make_images(batch_size=size, dtype=torch.float64)
        readings.append(
            local_energy(
                network,
                lambda m, images=images: error_and_loss(m, images),
                LocalEnergy(sigmas=(0.3,), draws=3),
                seed=0,
                images=37,
                refresh=lambda m, images=images: refresh_batch_norm(m, images.in_batches_of(12)),
            )
        )
    for first, second in zip(*readings, strict=True):
        assert first.value == pytest.approx(second.value, rel=1e-11)
        assert first.refreshed


def test_refresh_equals_torchs_pass_in_training_mode(make_network, make_images):
    ours, theirs = make_network(), make_network()
    images = make_images(40, batch_size=9)
    refresh_batch_norm(ours, images)
    update_bn([pixels for pixels, _ in images], theirs)
    assert equal(state_of(ours), state_of(theirs))
    assert ours[1].momentum == 0.1
    assert not ours[1].training


def test_refresh_of_one_batch_equals_the_batchs_own_statistics(network, make_images):
    images = make_images(40, batch_size=40)
    (pixels, _), *_ = images
    refresh_batch_norm(network, images)
    inner = network[0](pixels).detach()
    torch.testing.assert_close(network[1].running_mean, inner.mean((0, 2, 3)))
    torch.testing.assert_close(network[1].running_var, inner.var((0, 2, 3), correction=1))


def test_refresh_with_dropout_draws_nothing(make_network, make_images):
    network = make_network(dropout=0.5)
    images = make_images()
    refresh_batch_norm(network, images)
    first = state_of(network)
    refresh_batch_norm(network, images)
    assert equal(first, state_of(network))


def test_refresh_without_images_says_so(network):
    with pytest.raises(ValueError, match="no batch"):
        refresh_batch_norm(network, [])


def test_distances_equal_a_flat_numpy_norm_with_and_without_batch_norm(make_network):
    first, second = make_network(0), make_network(1)
    with torch.no_grad():
        second[1].weight.mul_(3)
    with_norm, without = weight_distances(first, state_of(first), state_of(second))

    def flat(network, names):
        parameters = dict(network.named_parameters())
        return numpy.concatenate(
            [parameters[n].detach().numpy().astype(numpy.float64).ravel() for n in names]
        )

    everything = ["0.weight", "1.weight", "1.bias", "6.weight", "6.bias"]
    for distance, names in (
        (with_norm, everything),
        (without, ["0.weight", "6.weight", "6.bias"]),
    ):
        a, b = flat(first, names), flat(second, names)
        assert distance.distance == pytest.approx(numpy.linalg.norm(a - b), rel=1e-12)
        assert distance.norm_a == pytest.approx(numpy.linalg.norm(a), rel=1e-12)
        assert distance.norm_b == pytest.approx(numpy.linalg.norm(b), rel=1e-12)
        cosine = a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b)
        assert distance.cosine == pytest.approx(cosine, rel=1e-9)
    assert with_norm.normalisation
    assert not without.normalisation
    assert with_norm.distance > without.distance


def test_distance_of_a_solution_to_itself_is_zero_whatever_its_running_statistics(network):
    other = state_of(network)
    other["1.running_mean"] += 5
    for distance in weight_distances(network, state_of(network), other):
        assert distance.distance == 0
        assert distance.cosine == pytest.approx(1)


def test_normalisation_parameters_name_every_kind_of_layer():
    model = nn.Sequential(
        nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.BatchNorm1d(4)
    )
    assert normalisation_parameters(model) == {
        f"{i}.{name}" for i in (0, 1, 2, 4) for name in ("weight", "bias")
    }


def test_load_state_of_another_architecture_names_the_first_difference(network):
    state = state_of(network)
    state["6.weight"] = torch.zeros(9, 24)
    with pytest.raises(ValueError, match=r"6.weight has shape \(9, 24\)"):
        load_state(network, state)
    del state["6.weight"]
    with pytest.raises(ValueError, match=r"differ in 1 names, first '6.weight'"):
        load_state(network, state)


def test_distance_of_zero_weights_has_no_cosine():
    model = nn.Linear(2, 2)
    zero = {name: torch.zeros_like(tensor) for name, tensor in state_of(model).items()}
    assert math.isnan(weight_distances(model, zero, state_of(model))[0].cosine)
