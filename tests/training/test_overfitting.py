"""The best epoch, where over-fitting begins, and the drop."""

from __future__ import annotations

import pytest

from xferpipe.training.overfitting import overfitting


@pytest.mark.parametrize(
    ("accuracies", "best", "worse", "drop"),
    [
        ([0.5, 0.7, 0.6], 2, 3, 0.1),
        ([0.5, 0.7, 0.7], 2, None, 0.0),
        ([0.9, 0.9, 0.8, 0.85], 1, 3, 0.05),
        ([0.5], 1, None, 0.0),
    ],
)
def test_overfitting_epoch_and_drop(accuracies, best, worse, drop):
    found = overfitting(accuracies, [1.0] * len(accuracies))
    assert (found["best_epoch"], found["overfitting_epoch"]) == (best, worse)
    assert found["drop"] == pytest.approx(drop)


def test_lower_loss_decides_between_equal_accuracies():
    found = overfitting([0.9, 0.8, 0.9, 0.85], [0.5, 0.6, 0.4, 0.45])
    assert (found["best_epoch"], found["overfitting_epoch"]) == (3, 4)


def test_overfitting_without_validation_is_unknown():
    unknown = {"best_epoch": None, "overfitting_epoch": None, "drop": None}
    assert overfitting([None, None], [None, None]) == unknown
