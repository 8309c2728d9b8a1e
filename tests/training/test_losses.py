"""Losses against their definitions, written out."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.recipes import Recipe
from xferpipe.training.losses import (
    arcface,
    balanced_weights,
    batch_hard_triplet,
    circle,
    contrastive,
    cross_entropy,
    loss_of,
)
from xferpipe.training.step import Step
from xferpipe.zoo.build import build_model, classifier_of


@pytest.mark.parametrize("over", ["all", "others"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_label_smoothing_equals_its_definition(over, smoothing):
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    true = torch.nn.functional.one_hot(labels, 5).double()
    if over == "all":
        target = (1 - smoothing) * true + smoothing / 5
    else:
        target = (1 - smoothing) * true + smoothing / 4 * (1 - true)
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert cross_entropy(logits, labels, smoothing, over).item() == pytest.approx(expected.item())


def test_batch_hard_triplet_equals_a_loop_over_anchors():
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(12, 6, generator=draw, dtype=torch.float64)
    labels = torch.arange(12) % 4
    margin = 0.3
    distances = torch.cdist(features, features)
    terms = []
    for i in range(12):
        same = (labels == labels[i]) & (torch.arange(12) != i)
        hardest = distances[i][same].max() - distances[i][labels != labels[i]].min()
        terms.append(max(0.0, hardest.item() + margin))
    expected = sum(terms) / len(terms)
    assert batch_hard_triplet(features, labels, margin).item() == pytest.approx(expected, rel=1e-6)


def test_contrastive_pulls_equal_identities_and_pushes_the_others_to_the_margin():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    # Equal pairs: (0,1) at sqrt 2 and (2,3) at 2. Others within margin 1: (0,2) at 0 alone.
    expected = (2**0.5 + 2) / 2 + 1.0
    assert contrastive(features, labels, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_loss_of_a_triplet_recipe_is_the_sum_of_both():
    draw = torch.Generator().manual_seed(2)
    logits, features = torch.randn(8, 4, generator=draw), torch.randn(8, 6, generator=draw)
    labels = torch.arange(8) % 4
    recipe = Recipe(loss="cross_entropy_triplet", label_smoothing=0.1)
    expected = cross_entropy(logits, labels, 0.1) + batch_hard_triplet(features, labels, 0.3)
    assert torch.equal(loss_of(recipe, logits, features, labels), expected)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 2, 2], [0, 1, 2], [0, 0, 2, 2, 2, 2, 2]])
def test_balanced_weights_equal_scikit_learn_and_have_mean_one_over_images(labels):
    weights = balanced_weights(torch.tensor(labels), 4)
    present = sorted(set(labels))
    expected = compute_class_weight("balanced", classes=numpy.array(present), y=labels)
    assert weights[present].tolist() == pytest.approx(expected.tolist())
    assert weights[labels].mean().item() == pytest.approx(1)
    assert [weights[c].item() for c in range(4) if c not in labels] == [1.0] * (4 - len(present))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True])
def test_weighted_cross_entropy_equals_torch_for_whole_and_for_parts_of_a_batch(smoothing, soft):
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(9, 3, generator=draw)
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])
    weights = balanced_weights(labels, 3)
    given = torch.rand(9, 3, generator=draw).softmax(1) if soft else labels
    function = torch.nn.CrossEntropyLoss(weight=weights, label_smoothing=smoothing)
    # torch divides by the weights of the hard labels, which are n for the whole training split, and
    # by n for soft ones.
    expected = function(logits, given).item()
    recipe = Recipe(label_smoothing=smoothing)
    found = loss_of(recipe, logits, logits, given, weights).item()
    assert found == pytest.approx(expected, rel=1e-6)
    parts = [
        len(some) * loss_of(recipe, some, some, wanted, weights).item()
        for some, wanted in zip(logits.split([2, 7]), given.split([2, 7]), strict=True)
    ]
    assert sum(parts) / 9 == pytest.approx(expected, rel=1e-6)


def test_class_weights_of_a_loss_that_compares_images_are_refused():
    for options in ({"loss": "cross_entropy_triplet"}, {"sampler": "pk"}):
        with pytest.raises(ValidationError, match="class_weights: balanced"):
            Recipe(class_weights="balanced", **options)


def _drawn(n=12, d=6, identities=4):
    draw = torch.Generator().manual_seed(3)
    return torch.randn(n, d, generator=draw, dtype=torch.float64), torch.arange(n) % identities


def test_circle_equals_its_equation_written_out():
    """log(1 + sum exp(g a_n (s_n - m)) sum exp(-g a_p (s_p - 1 + m))) of each image, in float64."""
    features, labels = _drawn()
    margin, scale = 0.25, 8.0
    unit = features / features.norm(dim=1, keepdim=True)
    terms = []
    for i in range(12):
        wrong = right = 0.0
        for j in range(12):
            similarity = float(unit[i] @ unit[j])
            if labels[j] != labels[i]:
                weight = max(similarity + margin, 0.0)
                wrong += math.exp(scale * weight * (similarity - margin))
            elif i != j:
                weight = max(1 + margin - similarity, 0.0)
                right += math.exp(-scale * weight * (similarity - 1 + margin))
        terms.append(math.log(1 + wrong * right))
    expected = sum(terms) / 12
    assert circle(features, labels, margin, scale).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("margin", [0.5, 1.2])
def test_arcface_equals_its_equation_by_angles(margin):
    features, labels = _drawn()
    classes = torch.randn(4, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    scale, terms = 10.0, []
    for feature, label in zip(features, labels.tolist(), strict=True):
        angles = [math.acos(float(feature @ row / feature.norm() / row.norm())) for row in classes]
        scores = [scale * math.cos(angle) for angle in angles]
        if angles[label] + margin < math.pi:
            scores[label] = scale * math.cos(angles[label] + margin)
        else:
            scores[label] = scale * (math.cos(angles[label]) - margin * math.sin(margin))
        terms.append(math.log(sum(map(math.exp, scores))) - scores[label])
    found = arcface(features, labels, classes, margin, scale)
    assert found.item() == pytest.approx(sum(terms) / 12, rel=1e-9)


def test_arcface_has_gradients_where_a_feature_is_its_class():
    classes = torch.eye(3, requires_grad=True)
    features = torch.eye(3).requires_grad_()
    arcface(features, torch.arange(3), classes, 0.5, 64.0).backward()
    assert features.grad.isfinite().all()
    assert classes.grad.isfinite().all()


def test_triplet_alone_is_without_the_classes():
    features, labels = _drawn()
    recipe = Recipe(loss="triplet", sampler="pk")
    found = loss_of(recipe, torch.zeros(12, 4), features, labels)
    assert found.item() == batch_hard_triplet(features, labels, 0.3).item()


@pytest.mark.parametrize("loss", ["triplet", "circle", "arcface"])
def test_losses_of_identities_train_a_network(loss):
    torch.manual_seed(0)
    model = build_model(
        ModelSpec(architecture="cifar_resnet8", width=4, mean=(0.5,) * 3, std=(0.5,) * 3), 4
    )
    step = Step(model, Recipe(loss=loss, sampler="pk", batch_size=8))
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8) % 4
    step.backward(images, labels)
    first = next(model.parameters()).grad
    assert first is not None
    assert first.abs().sum() > 0
    head = classifier_of(model).weight.grad
    assert (head is not None and head.abs().sum() > 0) == (loss == "arcface")


def test_options_of_new_losses_leave_slices_of_others_alone():
    assert not {"circle_margin", "arcface_scale"} & Recipe().model_dump().keys()
    assert Recipe(circle_margin=0.3).model_dump()["circle_margin"] == 0.3
    with pytest.raises(ValidationError, match="loss: arcface compares features with the rows"):
        Recipe(loss="arcface", train_layers="head", cache_features=True)
