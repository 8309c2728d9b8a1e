"""Loss and error along a way between two solutions, and the barrier on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from xferpipe.minimisers.energy import Measure, Refresh
from xferpipe.minimisers.solution import State, load_state, restored


class PathPoint(NamedTuple):
    """What a model is worth at one point of a way: `t` is 0 at the start and 1 at the end.

    `figures` are what was measured, by name; `refreshed` says that batch-norm statistics were
    recomputed first.
    """

    t: float
    refreshed: bool
    figures: Mapping[str, float]


def straight(start: State, end: State) -> Callable[[float], State]:
    """Return the straight way; its ends are the two solutions bit for bit."""

    def at(t: float) -> State:
        # Buffers that are integers (batches seen) are not weights: those of the nearer end.
        return {
            name: torch.lerp(tensor, end[name], t)
            if tensor.is_floating_point()
            else (end[name] if t > 0.5 else tensor)
            for name, tensor in start.items()
        }

    return at


def bezier(start: State, control: State, end: State) -> Callable[[float], State]:
    """Return the quadratic Bezier curve (1-t)^2 a + 2t(1-t) control + t^2 b.

    Buffers, which `control` does not hold, follow the straight way.

    Source:
        Garipov et al., NeurIPS 2018, section 3.
    """
    line = straight(start, end)

    def at(t: float) -> State:
        state = line(t)
        for name, middle in control.items():
            first = torch.lerp(start[name], middle, t)
            second = torch.lerp(middle, end[name], t)
            state[name] = torch.lerp(first, second, t)
        return state

    return at


def along(
    model: nn.Module,
    way: Callable[[float], State],
    measure: Measure,
    *,
    points: int,
    refresh: Refresh | None,
) -> list[PathPoint]:
    """Measure a model at equally spaced points of a way.

    Batch-norm statistics between two solutions belong to neither, so with `refresh` every point is
    measured with recomputed ones; the ends are then also measured as they are, which gives the
    solutions' own figures.

    Args:
        model: Its weights are the same bits afterwards.
        way: Gives the state at t.
        measure: Returns figures by name.
        points: Points, both ends included; at least 2.
        refresh: Recomputes batch-norm statistics, or None.
    Returns:
        The points in order of t.
    """
    found = []
    for step in range(points):
        t = step / (points - 1)
        with restored(model):
            load_state(model, way(t))
            found += measured(model, t, measure, refresh=refresh, end=step in (0, points - 1))
    return found


def measured(
    model: nn.Module, t: float, measure: Measure, *, refresh: Refresh | None, end: bool
) -> list[PathPoint]:
    """Measure a model as one point of a way; an end is also measured as it is.

    The model's batch-norm statistics are the refreshed ones afterwards.
    """
    found = []
    if refresh is None or end:
        found.append(PathPoint(t, False, measure(model)))
    if refresh is not None:
        refresh(model)
        found.append(PathPoint(t, True, measure(model)))
    return found


def barrier(points: Sequence[PathPoint], name: str) -> float:
    """Return how far the way rises above the line between its ends' figures, at most; 0 at least.

    Args:
        points: One way; where some are refreshed, those alone count.
        name: Which of the points' figures.
    Source:
        Frankle et al., ICML 2020, section 2, with the line of Entezari et al., ICLR 2022.
    """
    refreshed = [point for point in points if point.refreshed]
    used = sorted(refreshed or points, key=lambda point: point.t)
    first, last = used[0], used[-1]
    span = last.t - first.t
    rises = [0.0]
    for point in used:
        share = (point.t - first.t) / span if span else 0.0
        line = (1 - share) * first.figures[name] + share * last.figures[name]
        rises.append(point.figures[name] - line)
    return max(rises)
