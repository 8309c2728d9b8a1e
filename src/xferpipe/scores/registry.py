"""Find a score by its name: a convention, so no module lists its siblings.

A score is a function of the method's name in the module that `xferpipe.config.scores` names, or in
the entry point of another distribution (group `xferpipe.scores`). Its parameters say what it reads,
by name, out of the fields of `inputs.Inputs`; one without a default must be there. It returns a
number, or a dictionary of variant -> number, and raises `Undefined` where it has no value.

A module may add `<method>_draws(..., counts)`: the score of every bootstrap draw at once, where
`counts` (b, n) says how often each draw holds each image. It may instead add
`<method>_interval(..., confidence)`, which returns the ends of an interval and needs no draws.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from inspect import Parameter, signature
from typing import Any

from xferpipe.config.scores import ENTRY_POINT_GROUP, METHODS, module_of

Score = Callable[..., Any]


def resolve(method: str) -> Score:
    """Return the function that computes `method`.

    Raises:
        ValueError: No such score, or its entry point holds no function.
    """
    module = module_of(method)
    if method in METHODS:
        return getattr(import_module(module), method)
    (point,) = (p for p in entry_points(group=ENTRY_POINT_GROUP) if p.name == method)
    function = point.load()
    if not callable(function):
        raise ValueError(
            f"entry point {method!r} = {point.value!r} is a {type(function).__name__}; expected a "
            "function of features and labels"
        )
    return function


def draws_of(method: str) -> Score | None:
    """Return the function that computes `method` for all bootstrap draws at once, if it has one."""
    return getattr(import_module(module_of(method)), f"{method}_draws", None)


def interval_of(method: str) -> Score | None:
    """Return the function that computes an interval of `method` without draws, if it has one."""
    return getattr(import_module(module_of(method)), f"{method}_interval", None)


def arguments_of(score: Score) -> tuple[list[str], list[str]]:
    """Return the names of what a score needs, and of what it can also use."""
    needed, optional = [], []
    for name, parameter in signature(score).parameters.items():
        (needed if parameter.default is Parameter.empty else optional).append(name)
    return needed, optional
