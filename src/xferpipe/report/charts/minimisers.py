"""Minimisers: robustness curves, local energy and paths between solutions."""

from __future__ import annotations

from xferpipe.report.drawing import Figure, absent
from xferpipe.report.evidence import Evidence


def figures(evidence: Evidence) -> list[Figure]:
    """Return the minimiser figures."""
    return [absent("robustness", "Robustness curves", "the study has no minimiser probes")]
