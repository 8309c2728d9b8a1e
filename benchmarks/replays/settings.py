"""Simulated studies that the evidence is held against."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from tests.evidence.simulated import Score, Setting


class Kind(NamedTuple):
    """Studies to measure, and how they are looked at.

    Attributes:
        setting: Studies to draw.
        seeds: Runs of each pair that are known, 0: none; None: the race asks for its runs, at most
            the setting's seeds for each pair, until it stops by itself.
    """

    setting: Setting
    seeds: int | None


def kinds() -> dict[str, Kind]:
    """Return everything that is measured, by name."""
    plain = Setting(seeds=2)
    useless = (Score(correlation=0.0),)
    past = Setting(seeds=2, model_spread=0.04, earlier_targets=6)
    found = {
        "null": Kind(replace(plain, model_spread=0.0, scores=useless), 2),
        "null, 1 seed": Kind(replace(plain, model_spread=0.0, scores=useless), 1),
        "null, 1000 images": Kind(
            replace(plain, model_spread=0.0, scores=useless, validation_images=1000), 2
        ),
    }
    for rho in (0.0, 0.5, 0.8, 0.95):
        scores = (Score(correlation=rho),)
        found[f"rho {rho:g}"] = Kind(replace(plain, scores=scores), 2)
    for spread in (0.01, 0.04):
        found[f"spread {spread}"] = Kind(replace(plain, model_spread=spread), 2)
        found[f"spread {spread}, 1 seed"] = Kind(replace(plain, model_spread=spread), 1)
    for spread in (0.01, 0.02, 0.04):
        found[f"spread {spread}, 1000 images"] = Kind(
            replace(plain, model_spread=spread, validation_images=1000), 2
        )
    found["3 recipes"] = Kind(
        replace(plain, models=6, recipes=3, recipe_spread=0.02, interaction_spread=0.01), 2
    )
    found["no runs, rho 0.95"] = Kind(replace(plain, scores=(Score(correlation=0.95),)), 0)
    for name, setting in {
        "history": replace(past, scores=(Score(correlation=0.8),)),
        "misleading history": replace(
            past, memory=0.0, scores=(Score(correlation=0.0, earlier_correlation=0.95),)
        ),
        "opposite history": replace(
            past, memory=0.0, scores=(Score(correlation=-0.8, earlier_correlation=0.95),)
        ),
    }.items():
        found |= {f"{name}, {s} seeds": Kind(setting, s) for s in (0, 1, 2)}
    racing = {
        "null": replace(plain, model_spread=0.0, scores=useless),
        "null, 1000 images": replace(
            plain, model_spread=0.0, scores=useless, validation_images=1000
        ),
        "spread 0.02": plain,
        "spread 0.04": replace(plain, model_spread=0.04),
        "spread 0.04, 1000 images": replace(plain, model_spread=0.04, validation_images=1000),
        "2 recipes": replace(
            plain, model_spread=0.04, recipes=2, recipe_spread=0.02, interaction_spread=0.01
        ),
        "history": replace(past, scores=(Score(correlation=0.8),)),
        "misleading history": replace(
            past, memory=0.0, scores=(Score(correlation=0.0, earlier_correlation=0.95),)
        ),
        "null after a history": replace(
            past, effects=(0.0,) * past.models, scores=(Score(correlation=0.8),)
        ),
    }
    return found | {
        f"adaptive: {name}": Kind(replace(setting, seeds=3), None)
        for name, setting in racing.items()
    }
