"""What trying an architecture tells of the sides that it takes."""

from __future__ import annotations

import pytest

from xferpipe.config.catalogue import listed
from xferpipe.zoo.catalogue_trials import tried


@pytest.mark.parametrize(
    ("architecture", "fixed", "step"),
    [
        ("timm:resnet10t", False, 1),
        # Rotary positions: any number of patches. Absolute ones: rebuilt, and resampled.
        ("timm:vit_small_patch16_dinov3", False, 16),
        ("timm:vit_tiny_patch16_224", True, 16),
        # A mixer has a weight for each patch.
        ("timm:mixer_s32_224", True, None),
        ("resnet18", False, 1),
        ("vit_b_32", True, 32),
    ],
)
def test_sides_are_found_by_trying(architecture, fixed, step):
    row = listed(architecture)
    found = tried(row)
    assert (found["fixed"], found["side_step"], found["problem"]) == (fixed, step, None)
    assert {name: getattr(row, name) for name in found} == found


def test_architecture_that_cannot_be_built_says_why():
    found = tried(listed("timm:deit_tiny_distilled_patch16_224"))
    assert found["problem"] == "has several classifiers: head, head_dist"
    assert found["parameters"] is None
