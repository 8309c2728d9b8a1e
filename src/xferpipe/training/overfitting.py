"""Which epoch was best, where a run begins to over-fit, and what it loses by that."""

from __future__ import annotations


def overfitting(
    figures: list[float | None], losses: list[float | None]
) -> dict[str, float | int | None]:
    """Find the best epoch, the over-fitting epoch and the drop.

    Args:
        figures: What the target is judged by after each epoch, on the validation split, fractions;
            None without a split.
        losses: Validation loss after each epoch.
    Returns:
        `best_epoch`: the first epoch of the highest figure and, between equals, the lowest loss,
        1-based, or None without a split; `overfitting_epoch`: the first one after it that has a
        lower figure, or None where none has; `drop`: best minus last figure, a fraction.
    """
    if not figures or None in figures:
        return {"best_epoch": None, "overfitting_epoch": None, "drop": None}
    ranks = [(figure, -loss) for figure, loss in zip(figures, losses, strict=True)]
    best = ranks.index(max(ranks))
    after = range(best + 1, len(figures))
    worse = next((i + 1 for i in after if figures[i] < figures[best]), None)
    return {
        "best_epoch": best + 1,
        "overfitting_epoch": worse,
        "drop": figures[best] - figures[-1],
    }
