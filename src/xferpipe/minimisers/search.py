"""Ways between two solutions that training finds: a Bezier curve and a pull along low loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from xferpipe.config.minimisers import Paths
from xferpipe.minimisers.energy import Measure, Refresh
from xferpipe.minimisers.solution import State, load_state, restored, use_batch_statistics
from xferpipe.minimisers.ways import PathPoint, measured
from xferpipe.seeding import numpy_generator

#: Endless training batches: pixels in [0, 1] and labels.
Batches = Iterator[tuple[Tensor, Tensor]]


def bezier_control(
    model: nn.Module, start: State, end: State, batches: Batches, search: Paths, *, seed: int
) -> State:
    """Find the control point of a quadratic Bezier curve of least mean loss.

    Minimises E_t[L((1-t)^2 a + 2t(1-t) control + t^2 b)], t uniform in [0, 1], from the midpoint.

    Args:
        model: Its weights are the same bits afterwards.
        start: Solution a.
        end: Solution b.
        batches: Training images.
        search: Steps and learning rate.
        seed: Seed of the draws of t.
    Returns:
        The control point: a tensor for each parameter.
    Source:
        Garipov et al., NeurIPS 2018, section 3.
    """
    generator = numpy_generator(seed, "minimisers", "bezier")
    with restored(model):
        load_state(model, start)
        names = [name for name, _ in model.named_parameters()]
        control = {name: torch.lerp(start[name], end[name], 0.5) for name in names}
        optimiser = torch.optim.SGD(control.values(), lr=search.lr, momentum=0.9)
        parameters = dict(model.named_parameters())
        for _ in range(search.steps):
            t = float(generator.random())
            with torch.no_grad():
                for name, tensor in parameters.items():
                    ends = (1 - t) ** 2 * start[name] + t**2 * end[name]
                    tensor.copy_(ends + 2 * t * (1 - t) * control[name])
            for name, gradient in _gradients(model, batches).items():
                control[name].grad = 2 * t * (1 - t) * gradient
            optimiser.step()
    return control


def low_loss_way(
    model: nn.Module,
    start: State,
    goal: State,
    batches: Batches,
    search: Paths,
    measure: Measure,
    *,
    refresh: Refresh | None,
) -> list[PathPoint]:
    """Walk from one solution towards another while the loss stays low, and measure on the way.

    Minimises L(w) + distance_weight * |w - goal|, starting from `start`: the weights on the way are
    the curve.

    Args:
        model: Its weights are the same bits afterwards.
        start: Where the walk begins.
        goal: What it is pulled to.
        batches: Training images.
        search: Steps, learning rate, weight of the distance, and how many points to measure.
        measure: Returns figures by name.
        refresh: Recomputes batch-norm statistics, or None.
    Returns:
        Points at equally spaced steps, `start` the first; t is the part of the distance to
        `goal` that is behind, which need not reach 1.
    Raises:
        ValueError: The two solutions are the same weights.
    """
    stops = {round(i * search.steps / (search.points - 1)) for i in range(search.points)}
    found = []
    with restored(model):
        load_state(model, start)
        parameters = dict(model.named_parameters())
        whole = _apart(parameters, goal)
        if whole == 0:
            raise ValueError("the two solutions are the same weights: there is no way to search")
        optimiser = torch.optim.SGD(parameters.values(), lr=search.lr, momentum=0.9)
        for step in range(search.steps + 1):
            apart = _apart(parameters, goal)
            if step in stops:
                with restored(model):
                    t = 1 - apart / whole
                    found += measured(model, t, measure, refresh=refresh, end=step == 0)
            if step == search.steps:
                break
            pull = search.distance_weight / apart if apart > 0 else 0.0
            for name, gradient in _gradients(model, batches).items():
                tensor = parameters[name]
                tensor.grad = gradient.add(tensor.detach() - goal[name], alpha=pull)
            optimiser.step()
        optimiser.zero_grad()
    return found


def _gradients(model: nn.Module, batches: Batches) -> State:
    """Return the gradient of the mean loss of the next batch, with the batch's own statistics."""
    pixels, labels = next(batches)
    parameters = dict(model.named_parameters())
    use_batch_statistics(model)
    loss = functional.cross_entropy(model(pixels), labels)
    gradients = torch.autograd.grad(loss, parameters.values(), allow_unused=True)
    return {
        name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(parameters.items(), gradients, strict=True)
    }


@torch.no_grad()
def _apart(parameters: dict[str, Tensor], goal: State) -> float:
    return math.sqrt(
        sum((p.double() - goal[n].double()).square().sum().item() for n, p in parameters.items())
    )
