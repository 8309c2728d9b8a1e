"""Multi-domain experts: what domains share, and what they never touch of one another."""

from __future__ import annotations

import copy

import numpy
import pytest
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.training.evaluate import evaluate
from xferpipe.training.multi_domain import DomainImages, train_expert
from xferpipe.zoo.build import classifier_of, outputs_of
from xferpipe.zoo.domains import make_expert, set_domain, take_domain
from xferpipe.zoo.weights import load_model, save_weights

CLASSES = (2, 3, 4)


def domains(data, n: int = 24, seed: int = 0) -> list:
    return [data(n + 5 * i, classes=c, seed=seed + i) for i, c in enumerate(CLASSES)]


@pytest.mark.parametrize("mode", ["shared", "multi_bn", "adapter"])
def test_expert_learns_every_domain_and_each_is_taken_out_as_a_plain_model(
    model, data, spec, tmp_path, mode
):
    expert = model()
    names = set(expert.state_dict())
    make_expert(expert, mode, CLASSES, seed=0)
    recipe = Recipe(epochs=6, batch_size=16, lr=0.1)
    result = train_expert(
        expert,
        recipe,
        domains(data, 40),
        domains(data, seed=9),
        images_per_domain=48,
        seed=0,
    )
    assert result.diverged is None
    accuracies = []
    for domain, part in enumerate(domains(data, seed=9)):
        plain = take_domain(expert, domain)
        assert set(plain.state_dict()) == names
        assert outputs_of(plain) == CLASSES[domain]
        save_weights(plain, tmp_path / f"{domain}.safetensors")
        again = load_model(spec(), tmp_path / f"{domain}.safetensors")
        set_domain(expert, domain)
        expert.eval()
        images, _ = next(part.evaluation(64))
        with torch.no_grad():
            assert torch.allclose(again(images), expert(images), atol=1e-5)
        accuracies.append(evaluate(again, part).accuracy)
    assert numpy.mean(accuracies) > 0.8


@pytest.mark.parametrize("mode", ["multi_bn", "adapter"])
def test_batches_of_one_domain_move_nothing_that_is_anothers(model, data, mode):
    expert = model()
    make_expert(expert, mode, CLASSES, seed=0)
    before = copy.deepcopy(expert.state_dict())
    expert.train()
    parts = DomainImages(expert, domains(data))
    only = numpy.flatnonzero(parts.of == 1)
    optimiser = torch.optim.SGD(expert.parameters(), lr=0.1)
    for images, labels in parts.training([only[:12], only[12:]], classes=0, seed=0, first_step=0):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(expert(images), labels).backward()
        optimiser.step()
    after = expert.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    own = {name for name in after if ".choices.1." in name or name.endswith("kernels.1")}
    others = {
        name for name in after if (".choices." in name or ".kernels." in name) and name not in own
    }
    assert own <= moved
    assert not others & moved


def test_shared_expert_has_one_set_of_statistics(model):
    expert = model()
    make_expert(expert, "shared", CLASSES, seed=0)
    assert not [name for name in expert.state_dict() if "bn" in name and "choices" in name]


def test_sampling_is_balanced_and_repeats_a_small_domain(model, data):
    expert = model()
    make_expert(expert, "shared", CLASSES, seed=0)
    parts = DomainImages(expert, domains(data))
    from xferpipe.datasets.samplers import BalancedDomains

    order = BalancedDomains(parts.of, 40, 8, seed=0)
    seen = numpy.concatenate([parts.of[batch] for batch in order.batches(0)])
    assert numpy.bincount(seen).tolist() == [40, 40, 40]
    assert all(len(set(parts.of[batch])) == 1 for batch in order.batches(0))


def test_expert_without_batch_norm_with_an_average_or_with_class_weights_is_refused(model, data):
    with pytest.raises(ValueError, match="allowed for it: shared"):
        make_expert(model(norm="group"), "multi_bn", CLASSES, seed=0)
    expert = model()
    make_expert(expert, "shared", CLASSES, seed=0)
    for option in ({"model_ema": True}, {"class_weights": "balanced"}):
        with pytest.raises(ValueError, match=f"cannot be trained with {next(iter(option))}"):
            train_expert(
                expert,
                Recipe(**option),
                domains(data),
                domains(data),
                images_per_domain=8,
                seed=0,
            )


def test_classifiers_of_equally_many_classes_are_drawn_apart(model):
    network = model()
    make_expert(network, "shared", (3, 3), seed=0)
    first, second = classifier_of(network).choices
    assert not torch.equal(first.weight, second.weight)
