"""Local energy: how much a solution loses when every weight is off by some of its own size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from xferpipe.config.minimisers import LocalEnergy
from xferpipe.minimisers.readings import Reading, over_repeats
from xferpipe.minimisers.solution import restored
from xferpipe.seeding import torch_generator

#: Figures of a model by name: {"error": fraction, "loss": nats}.
Measure = Callable[[nn.Module], Mapping[str, float]]
#: Recomputes a model's batch-norm statistics in place.
Refresh = Callable[[nn.Module], None]


@torch.no_grad()
def local_energy(
    model: nn.Module,
    measure: Measure,
    energy: LocalEnergy,
    *,
    seed: int,
    images: int,
    refresh: Refresh | None = None,
    confidence: float = 0.95,
) -> list[Reading]:
    """Estimate E_z[E(w + sigma z * w)] - E(w) for each sigma, z ~ N(0, 1) for every parameter.

    Draws are shared between sigmas. With `refresh`, batch-norm statistics are recomputed at w and
    at every draw, so that both terms are measured alike; running statistics are never perturbed.

    Args:
        model: Its weights are the same bits afterwards.
        measure: E; each name it returns becomes a measure of its own.
        energy: Sigmas and the number of draws.
        seed: Seed of the draws.
        images: Images that `measure` looks at, for the record.
        refresh: Called at w and at every draw; None keeps the statistics of the solution.
        confidence: Level of the intervals, which are over draws.
    Returns:
        One reading a sigma and measure.
    Source:
        Pittorino et al., ICLR 2021, section 2.2 (E the error there; here the loss as well).
    """
    rises: dict[tuple[float, str], list[float]] = {}
    with restored(model) as solution:
        parameters = dict(model.named_parameters())
        if refresh:
            refresh(model)
        at_solution = dict(measure(model))
        for draw in range(energy.draws):
            # Drawn on the CPU, so that every device sees the same perturbations.
            generator = torch_generator(seed, "minimisers", "energy", draw)
            noise = {
                name: torch.randn(tensor.shape, generator=generator).to(tensor)
                for name, tensor in parameters.items()
            }
            for sigma in energy.sigmas:
                for name, tensor in parameters.items():
                    weight = solution[name]
                    torch.addcmul(weight, noise[name], weight, value=sigma, out=tensor)
                if refresh:
                    refresh(model)
                for name, value in measure(model).items():
                    rises.setdefault((sigma, name), []).append(value - at_solution[name])
    return [
        over_repeats(
            "energy",
            sigma,
            name,
            values,
            images=images,
            confidence=confidence,
            refreshed=refresh is not None,
        )
        for (sigma, name), values in rises.items()
    ]
