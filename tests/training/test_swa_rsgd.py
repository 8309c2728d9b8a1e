"""The schedule of SWA, and rSGD against runs of single copies."""

from __future__ import annotations

import pytest
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.datasets.samplers import sampler
from xferpipe.training.algorithms import rsgd as rsgd_module
from xferpipe.training.algorithms import swa as swa_module
from xferpipe.training.loop import fit
from xferpipe.training.parameters import optimiser, scheduled_rates

COMMON = {"batch_size": 10, "lr": 0.04, "lr_scheduler": "constant", "select": "last"}


def test_swa_rate_moves_linearly_to_the_constant_one_and_training_ends_on_time(model, data):
    swa = {"start_train_accuracy": 1e-9, "anneal_epochs": 2, "epochs": 3, "lr": 0.01}
    recipe = Recipe(epochs=20, algorithm="swa", swa=swa, **COMMON)
    rows = fit(model(), recipe, data(40), None, seed=0).rows
    assert len(rows) == 1 + 2 + 3
    # The rate of an epoch is that of its last of four steps: 3/8 and 7/8 of the way.
    shares = [0, 3 / 8, 7 / 8, 1, 1, 1]
    expected = [0.04 + share * (0.01 - 0.04) for share in shares]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)


def swa_algorithm(network, **swa):
    """Return the algorithm in its first epoch of averaging or annealing, and its optimiser."""
    recipe = Recipe(
        epochs=20, algorithm="swa", swa={"start_train_accuracy": 0.5, "lr": 0.01} | swa,
        layer_lrs={"head": 0.4}, **COMMON,
    )  # fmt: skip
    made = optimiser(network, recipe)
    algorithm = swa_module.Algorithm(network, made, recipe, lambda: [])
    algorithm.after_epoch(0, 0.5)
    assert algorithm.start == 1
    return algorithm, made, recipe


def test_swa_rates_keep_the_proportions_of_the_groups(model):
    """A quarter of the way from 0.04 to 0.01, and of the head's from 0.4 to 0.1; then there."""
    algorithm, made, recipe = swa_algorithm(model(), anneal_epochs=2, epochs=3)
    for place, expected in (
        ((1, 1, 2), {0.04: 0.0325, 0.4: 0.325}),
        ((4, 0, 2), {0.04: 0.01, 0.4: 0.1}),
    ):
        scheduled_rates(made, recipe, *place)
        algorithm.change_rates(*place)
        rates = {group["peak"]: group["lr"] for group in made.param_groups}
        assert rates == pytest.approx(expected)


def test_swa_averages_at_its_interval(model):
    algorithm, *_ = swa_algorithm(model(norm="group"), anneal_epochs=0, epochs=4, interval_epochs=2)
    taken = []
    for epoch in range(1, 5):
        algorithm.after_epoch(epoch, 0.5)
        taken.append(int(algorithm.average.n_averaged))
    assert taken == [0, 1, 1, 2]
    assert [algorithm.finished(epoch, 0.5) for epoch in range(1, 5)] == [False, False, False, True]


def test_swa_that_never_reaches_its_accuracy_trains_on_without_an_average(model, data):
    common = COMMON | {"lr": 1e-9}
    swa = {"start_train_accuracy": 1.0, "anneal_epochs": 0, "epochs": 1, "lr": 0.5}
    averaged, plain = model(), model()
    rows = fit(
        averaged, Recipe(epochs=3, algorithm="swa", swa=swa, **common), data(40), None, seed=0
    ).rows
    fit(plain, Recipe(epochs=3, **common), data(40), None, seed=0)
    assert len(rows) == 3
    for own, other in zip(averaged.parameters(), plain.parameters(), strict=True):
        assert torch.equal(own, other)


def test_rsgd_without_a_pull_is_the_mean_of_runs_on_every_second_batch(model, data):
    # In one memory format with the loop below: eight steps magnify the last digits.
    rsgd = {"replicas": 2, "coupling": 1e-30, "growth": 1}
    recipe = Recipe(epochs=2, algorithm="rsgd", rsgd=rsgd, channels_last=False, **COMMON)
    together = model(norm="group")
    train = data(40)
    fit(together, recipe, train, None, seed=3)

    order = sampler(recipe, train.labels.numpy(), seed=3)
    batches = [batch for epoch in range(2) for batch in order.batches(epoch, 0)]
    assert len(batches) == 8
    copies = []
    for turn in range(2):
        copy = model(norm="group")
        optimiser = torch.optim.SGD(copy.parameters(), lr=0.04, momentum=0.9, weight_decay=1e-4)
        for images, labels in train.training(batches[turn::2], classes=3, seed=3, first_step=0):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(copy(images), labels).backward()
            optimiser.step()
        copies.append(dict(copy.named_parameters()))
    for name, value in together.named_parameters():
        mean = (copies[0][name] + copies[1][name]) / 2
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-6)


def test_rsgd_pulls_at_its_interval_by_a_strength_that_grows(model):
    """Two copies of weights 1 and no gradient: a step of a copy moves it by its pull alone."""
    network = model(norm="group")
    rsgd = {"replicas": 2, "coupling": 0.1, "growth": 2, "interval_steps": 2}
    recipe = Recipe(epochs=1, algorithm="rsgd", rsgd=rsgd, **COMMON)
    made = torch.optim.SGD(network.parameters(), lr=0.04)
    algorithm = rsgd_module.Algorithm(network, made, recipe, lambda: [])
    for replica, value in zip(algorithm.replicas, (0.0, 1.0), strict=True):
        for weights in replica:
            weights.fill_(value)

    def still():
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return torch.zeros(())

    found = []
    for _ in range(5):
        algorithm.update(still)
        found.append([float(replica[0].flatten()[0]) for replica in algorithm.replicas])
    # Steps 0, 2 and 4 are the first copy's; strengths 0.1, 0.4 and 1.6, of which 1 is the most.
    first = 0.1 * 0.5
    second = first + 0.4 * ((first + 1) / 2 - first)
    third = (second + 1) / 2
    expected = [first, first, second, second, third]
    assert [pair[0] for pair in found] == pytest.approx(expected)
    assert [pair[1] for pair in found] == [1.0] * 5


def test_rsgd_with_a_full_pull_keeps_the_copies_nearer_than_without(model, data):
    def spread(coupling: float) -> float:
        from xferpipe.training.algorithms.rsgd import Algorithm

        network = model(norm="group")
        recipe = Recipe(
            epochs=1, algorithm="rsgd", rsgd={"replicas": 2, "coupling": coupling, "growth": 1},
            **COMMON,
        )  # fmt: skip
        optimiser = torch.optim.SGD(network.parameters(), lr=0.04)
        algorithm = Algorithm(network, optimiser, recipe, lambda: [])
        for images, labels in data(40).evaluation(10):

            def backward(images=images, labels=labels):
                loss = torch.nn.functional.cross_entropy(network(images), labels)
                loss.backward()
                return loss.detach()

            algorithm.update(backward)
        first, second = algorithm.replicas
        return sum((a - b).square().sum().item() for a, b in zip(first, second, strict=True))

    assert spread(1.0) < spread(0.3) < spread(1e-30)


@pytest.mark.parametrize("algorithm", ["swa", "rsgd"])
def test_averages_keep_the_statistics_of_frozen_batch_norms(model, data, algorithm):
    swa = {"start_train_accuracy": 1e-9, "anneal_epochs": 0, "epochs": 1, "lr": 0.01}
    options = {"swa": swa} if algorithm == "swa" else {"rsgd": {"replicas": 2}}
    recipe = Recipe(epochs=2, algorithm=algorithm, freeze_bn="all", **options, **COMMON)
    network = model()
    before = {name: value.clone() for name, value in network.named_buffers()}
    fit(network, recipe, data(40), None, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
