"""Models that learned next to nothing of their own source."""

from __future__ import annotations


def near_chance(accuracy: float, images: int, classes: int) -> bool:
    """Tell whether guessing would do as well: within three standard errors of one class in c."""
    chance = 1 / classes
    return accuracy < chance + 3 * (chance * (1 - chance) / images) ** 0.5


def chance_words(model: str, accuracy: float, classes: int) -> str:
    """Say that a model learned next to nothing.

    Args:
        model: Zoo entry.
        accuracy: On the test images of its source.
        classes: Classes of the source.
    """
    return (
        f"{model} has learned next to nothing: {accuracy:.3f} of the test images of its source are "
        f"right, and guessing among {classes} classes gives {1 / classes:.3f}; raise epochs or "
        "change lr of its recipe"
    )
