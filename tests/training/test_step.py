"""One pass: its gradients do not depend on how images lie in memory."""

from __future__ import annotations

import pytest
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.training.step import Step


@pytest.mark.parametrize("width", [4, 8, 16])
def test_gradients_in_channels_last_are_those_of_the_default_format(model, width, caplog):
    """Narrow models would get wrong ones from oneDNN, or crash: they keep the default format."""
    caplog.set_level("INFO")
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    gradients = []
    for channels_last in (False, True):
        network = model(width=width)
        step = Step(network, Recipe(channels_last=channels_last))
        step.backward(images, labels)
        gradients.append({name: one.grad for name, one in network.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-5), name
    assert ("channels_last is left aside" in caplog.text) == (width < 16)
    assert step.format == (torch.channels_last if width == 16 else torch.contiguous_format)
