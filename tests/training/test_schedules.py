"""Every schedule against torch's own schedulers, put together as torchvision's reference does."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import lr_scheduler

from xferpipe.config.presets import PRESETS
from xferpipe.config.recipes import Recipe
from xferpipe.training.schedules import learning_rate, supports_factor


def reference_rates(recipe: Recipe) -> list[float]:
    """Return the rate of each epoch as references/classification/train.py sets it."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    main_epochs = recipe.epochs - recipe.lr_warmup_epochs
    main = {
        "step": lambda: lr_scheduler.StepLR(optimiser, recipe.lr_step_size, recipe.lr_gamma),
        "multistep": lambda: lr_scheduler.MultiStepLR(
            optimiser, list(recipe.lr_milestones), recipe.lr_gamma
        ),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(
            optimiser, T_max=main_epochs, eta_min=recipe.lr_min
        ),
        "constant": lambda: lr_scheduler.LambdaLR(optimiser, lambda epoch: 1.0),
    }[recipe.lr_scheduler]()
    scheduler = main
    if recipe.lr_warmup_epochs:
        if recipe.lr_warmup_method == "linear":
            warmup = lr_scheduler.LinearLR(
                optimiser,
                start_factor=recipe.lr_warmup_decay,
                total_iters=recipe.lr_warmup_epochs,
            )
        else:
            warmup = lr_scheduler.ConstantLR(
                optimiser, factor=recipe.lr_warmup_decay, total_iters=recipe.lr_warmup_epochs
            )
        scheduler = lr_scheduler.SequentialLR(
            optimiser, [warmup, main], milestones=[recipe.lr_warmup_epochs]
        )
    rates = []
    for _ in range(recipe.epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


#: Of recipes that train; a k-NN vote has no rate.
BY_EPOCH = [
    name
    for name in PRESETS
    if Recipe(preset=name).lr_by == "epoch" and "knn" not in PRESETS[name].get("surgery", {})
]


@pytest.mark.parametrize("preset", BY_EPOCH)
@pytest.mark.parametrize("warmup", [None, 0, 5])
def test_schedule_of_a_preset_equals_torchvisions_reference_at_every_step(preset, warmup):
    """Each preset as it is, and without and with a warm-up."""
    options = {} if warmup is None else {"lr_warmup_epochs": warmup}
    recipe = Recipe(preset=preset, **options)
    expected = reference_rates(recipe)
    for step in range(3):
        ours = [learning_rate(recipe, epoch, step, 3) for epoch in range(recipe.epochs)]
        assert ours == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("scheduler", ["constant", "step", "multistep", "cosine"])
@pytest.mark.parametrize("method", ["linear", "constant"])
def test_schedule_after_warmup_equals_torchvisions_reference(scheduler, method):
    recipe = Recipe(
        epochs=23,
        lr=0.4,
        lr_scheduler=scheduler,
        lr_warmup_epochs=4,
        lr_warmup_method=method,
        lr_warmup_decay=0.05,
        lr_step_size=5,
        lr_milestones=(6, 12),
        lr_gamma=0.3,
        lr_min=0.01,
    )
    ours = [learning_rate(recipe, epoch, 0, 7) for epoch in range(recipe.epochs)]
    assert ours == pytest.approx(reference_rates(recipe), rel=1e-9, abs=1e-15)


def test_schedule_by_step_equals_the_closed_cosine():
    recipe = Recipe(epochs=4, lr=0.2, lr_by="step")
    for epoch in range(4):
        for step in range(5):
            closed = 0.1 * (1 + math.cos(math.pi * (5 * epoch + step) / 20))
            assert learning_rate(recipe, epoch, step, 5) == pytest.approx(closed, rel=1e-12)


def test_cosine_of_a_run_that_steps_end_comes_to_its_end_there():
    """10 steps of 4 an epoch; the epochs that the recipe names besides mean nothing."""
    recipe = Recipe(epochs=99, steps=10, lr=0.2, lr_min=0.02, lr_by="step")
    for number in range(10):
        closed = 0.02 + 0.09 * (1 + math.cos(math.pi * number / 10))
        rate = learning_rate(recipe, number // 4, number % 4, 4)
        assert rate == pytest.approx(closed, rel=1e-12)


def test_schedule_with_warmup_steps_is_linear_and_moves_no_drop():
    recipe = Recipe(preset="bit_upstream")
    peak, steps = recipe.lr, 313
    for step in range(90 * steps):
        share = recipe.lr_warmup_decay + (1 - recipe.lr_warmup_decay) * step / 5000
        drops = sum(step >= epoch * steps for epoch in (30, 60, 80))
        expected = peak * share if step < 5000 else peak * 0.1**drops
        rate = learning_rate(recipe, step // steps, step % steps, steps)
        assert rate == pytest.approx(expected, rel=1e-9)


def test_supports_factor_equals_the_published_function_at_every_step():
    def published(step: int, supports: tuple[int, ...]) -> float | None:
        # google-research/big_transfer, bit_hyperrule.get_lr, with base_lr 1.
        rate = 1.0
        if step < supports[0]:
            return rate * step / supports[0]
        if step >= supports[-1]:
            return None
        for support in supports[1:]:
            if support < step:
                rate /= 10
        return rate

    supports = (100, 200, 300, 400, 500)
    for step in range(500):
        assert supports_factor(supports, step) == pytest.approx(published(step, supports))
    assert published(500, supports) is None
