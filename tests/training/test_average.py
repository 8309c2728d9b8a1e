"""The average of the weights, against torchvision's recursion worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.training.average import Average


class Weight(nn.Module):
    """One weight and one running statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def at(self, value: float) -> Weight:
        """Set both to a value."""
        with torch.no_grad():
            self.weight.fill_(value)
            self.seen.fill_(value)
        return self


def averaged(steps, **options) -> Weight:
    """Average the weights that come after some steps (epoch, step)."""
    recipe = Recipe(batch_size=20, model_ema=True, model_ema_decay=0.99, **options)
    model = Weight()
    average = Average(model, recipe, epochs=8)
    for (epoch, step), value in steps.items():
        average.after_step(model.at(value), epoch, step)
    return average.evaluated()


#: The weights after four steps of the second epoch; the second and the fourth are not looked at.
STEPS = {(1, 0): 1.0, (1, 1): 50.0, (1, 2): 3.0, (1, 3): 70.0}


def test_average_is_taken_at_every_second_step_with_the_decay_of_the_runs_length():
    """Of 20 images, 2 steps and 8 epochs the decay is 1 - 0.01 x 20 x 2 / 8 = 0.95."""
    found = averaged(STEPS, model_ema_steps=2, epochs=8)
    assert found.weight.item() == pytest.approx(0.95 * 1 + 0.05 * 3)
    assert found.seen.item() == pytest.approx(0.95 * 1 + 0.05 * 3)


def test_average_does_not_remember_the_warm_up():
    """Weights of the warm-up are replaced, by those of the first step behind it as well."""
    steps = {(0, 0): 100.0, (0, 1): 200.0, (1, 0): 1.0, (1, 1): 3.0}
    found = averaged(steps, model_ema_steps=1, epochs=8, lr_warmup_epochs=1)
    assert found.weight.item() == pytest.approx(0.975 * 1 + 0.025 * 3)
