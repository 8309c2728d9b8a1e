"""Where a run begins to over-fit, and what it loses by that."""

from __future__ import annotations


def overfitting(accuracies: list[float | None]) -> dict[str, float | int | None]:
    """Find the over-fitting epoch and the drop.

    Args:
        accuracies: Validation accuracy after each epoch, fractions; None without a split.
    Returns:
        `overfitting_epoch`: the first epoch after the best one that is worse than it, 1-based, or
        None where none is; `drop`: best minus last, a fraction.
    """
    if not accuracies or None in accuracies:
        return {"overfitting_epoch": None, "drop": None}
    best = max(accuracies)
    after = range(accuracies.index(best) + 1, len(accuracies))
    worse = next((i + 1 for i in after if accuracies[i] < best), None)
    return {"overfitting_epoch": worse, "drop": best - accuracies[-1]}
