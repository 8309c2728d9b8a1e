"""What an entry of the zoo may say."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from xferpipe.config.zoo import ZooEntry


@pytest.mark.parametrize("weights", ["file", "package", "timm"])
def test_stated_source_accuracy_is_a_fraction(weights):
    entry = {"architecture": "timm:resnet10t", "weights": weights, "name": "c3"}
    for value in (0, 0.784, 1):
        assert ZooEntry(**entry, source_accuracy=value).source_accuracy == value
    for value, message in (
        (
            78.4,
            "source_accuracy is 78.4; expected a fraction, 0 to 1; of a percentage, write 0.784",
        ),
        (1.5, "of a percentage, write 0.015"),
        (784, "expected a fraction, 0 to 1$"),
        (-0.1, "greater than or equal to 0"),
    ):
        with pytest.raises(ValidationError) as raised:
            ZooEntry(**entry, source_accuracy=value)
        assert re.search(message, raised.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"weights": "torchvision", "name": "V1"}, "it is torchvision's, so leave it out"),
        ({"weights": "random"}, "weights: random it is none"),
        ({"weights": "pretrain", "source": "d", "recipe": "r"}, "it is measured"),
    ],
)
def test_source_accuracy_of_weights_that_bring_their_own_is_refused(entry, message):
    with pytest.raises(ValidationError, match=message):
        ZooEntry(architecture="resnet18", source_accuracy=0.5, **entry)
