"""What is said of a model that was trained here."""

import pytest

from xferpipe.zoo.chance import near_chance


@pytest.mark.parametrize(
    ("accuracy", "images", "classes", "near"),
    [
        (0.04, 520, 26, True),  # one in 26 is 0.038
        (0.06, 520, 26, True),  # within three standard errors of it, 0.025
        (0.08, 520, 26, False),
        (0.5, 40, 2, True),
        (0.7, 40, 2, True),
        (0.8, 40, 2, False),
        (0.0, 100, 3, True),
    ],
)
def test_near_chance_is_what_guessing_would_reach(accuracy, images, classes, near):
    assert near_chance(accuracy, images, classes) == near
