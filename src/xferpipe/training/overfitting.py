"""Which epoch was best, where a run begins to over-fit, and what it loses by that."""

from __future__ import annotations


def overfitting(
    accuracies: list[float | None], losses: list[float | None]
) -> dict[str, float | int | None]:
    """Find the best epoch, the over-fitting epoch and the drop.

    Args:
        accuracies: Validation accuracy after each epoch, fractions; None without a split.
        losses: Validation loss after each epoch.
    Returns:
        `best_epoch`: the first epoch of the highest accuracy and, between equals, the lowest loss,
        1-based, or None without a split; `overfitting_epoch`: the first one after it that has a
        lower accuracy, or None where none has; `drop`: best minus last accuracy, a fraction.
    """
    if not accuracies or None in accuracies:
        return {"best_epoch": None, "overfitting_epoch": None, "drop": None}
    figures = [(accuracy, -loss) for accuracy, loss in zip(accuracies, losses, strict=True)]
    best = figures.index(max(figures))
    after = range(best + 1, len(accuracies))
    worse = next((i + 1 for i in after if accuracies[i] < accuracies[best]), None)
    return {
        "best_epoch": best + 1,
        "overfitting_epoch": worse,
        "drop": accuracies[best] - accuracies[-1],
    }
