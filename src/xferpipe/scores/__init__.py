"""Transferability scores: how well a pretrained model's features fit labelled images.

`compute` gives a table of many scores; each score is also a function of its own name, e.g.
`xferpipe.scores.lfc(features, labels)`. Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import Any

from xferpipe.config.scores import METHODS

__all__ = ["METHODS", "Undefined", "compute"]


def __getattr__(name: str) -> Any:
    if name == "compute":
        from xferpipe.scores.score_table import compute

        return compute
    if name == "Undefined":
        from xferpipe.scores.inputs import Undefined

        return Undefined
    if name in METHODS:
        from xferpipe.scores.registry import resolve

        return resolve(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
