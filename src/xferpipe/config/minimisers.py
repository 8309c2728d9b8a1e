"""Minimiser probes: which pretrained solutions are examined, and how.

Every probe reads the same stratified images of each split, so that its figures can be compared.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from xferpipe.config.base import Block, Name


class InputProbes(Block):
    """Perturbations of the images, in pixels scaled to [0, 1]."""

    noise_levels: tuple[float, ...] = Field(
        (0.05, 0.1, 0.2, 0.3, 0.4), description="Standard deviations of Gaussian pixel noise."
    )
    noise_repeats: int = Field(5, ge=1, description="Noise draws for each image.")
    mask_sides: tuple[float, ...] = Field(
        (0.1, 0.2, 0.3, 0.4, 0.5),
        description="Sides of one black square, as fractions of the image's side.",
    )
    mask_repeats: int = Field(5, ge=1, description="Places of the square for each image.")
    fgsm_epsilons: tuple[float, ...] = Field(
        (0.002, 0.004, 0.008, 0.016, 0.032),
        description="Steps along the sign of the loss gradient; pixels are clipped to [0, 1].",
    )

    @model_validator(mode="after")
    def _in_range(self) -> InputProbes:
        for name in ("noise_levels", "mask_sides", "fgsm_epsilons"):
            if bad := [value for value in getattr(self, name) if not 0 <= value <= 1]:
                raise ValueError(f"{name}: {bad} lie outside 0..1, the range of pixels and sides")
        return self


class LocalEnergy(Block):
    """E_z[E(w + sigma z * w)] - E(w), z ~ N(0, 1) for every parameter."""

    sigmas: tuple[float, ...] = Field(
        (0.05, 0.1, 0.15, 0.2, 0.25), description="Relative sizes of the weight noise."
    )
    draws: int = Field(25, ge=2, description="Draws of z; every sigma uses the same ones.")
    refresh: bool = Field(
        True, description="Recompute batch-norm statistics, at w as at every draw."
    )


class Paths(Block):
    """Lines and curves between solutions of one architecture and one source."""

    pairs: tuple[tuple[Name, Name], ...] | Literal["all"] = Field(
        "all", description="Pairs of zoo entries, or every pair of the probed ones."
    )
    points: int = Field(11, ge=3, description="Points on a path, both ends included.")
    kinds: tuple[Literal["straight", "bezier", "low_loss"], ...] = Field(
        ("straight", "bezier", "low_loss"),
        description="The line; the quadratic Bezier of least mean loss; the search that minimises "
        "loss + distance to the second solution, starting from the first.",
    )
    steps: int = Field(200, ge=1, description="Optimiser steps of a Bezier or low_loss search.")
    batch_size: int = Field(128, ge=2, description="Training images of one search step.")
    lr: float = Field(0.01, gt=0, description="Learning rate of a search (SGD, momentum 0.9).")
    distance_weight: float = Field(
        1.0, ge=0, description="Weight of distance / initial distance beside the loss (low_loss)."
    )

    @model_validator(mode="after")
    def _two_ends(self) -> Paths:
        for pair in () if self.pairs == "all" else self.pairs:
            if pair[0] == pair[1]:
                raise ValueError(f"pairs: {pair[0]!r} is paired with itself; name two zoo entries")
        return self


class Continual(Block):
    """Fine-tune on one part of a target, then on the next, and measure what is forgotten."""

    recipe: Name = Field(description="Fine-tuning recipe of each part.")
    parts: int = Field(2, ge=2, description="Parts that the training split is cut into.")
    part_by: Literal["classes", "images"] = Field(
        "classes", description="Cut the classes, or the images of every class."
    )
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="Seeds of repeated runs.")


class Minimisers(Block):
    """What is measured of each pretrained solution, and of what it becomes when fine-tuned."""

    models: tuple[Name, ...] | Literal["all"] = Field(
        "all", description="Pretrained zoo entries to probe, or all entries with a source."
    )
    images: int = Field(
        1000, ge=2, description="Images of each split, the same number of every class."
    )
    batch_size: int = Field(
        250, ge=1, description="Images of one pass; figures do not depend on it."
    )
    refresh_batch_size: int = Field(
        250, ge=2, description="Batch of batch-norm refreshes, which do depend on it."
    )
    inputs: InputProbes = Field(InputProbes(), description="Perturbations of the images.")
    energy: LocalEnergy = Field(LocalEnergy(), description="Perturbations of the weights.")
    paths: Paths = Field(Paths(), description="Paths between solutions.")
    finetuned: bool = Field(
        True, description="Also perturb the target's test images of every fine-tuned model."
    )
    continual: Continual | None = Field(None, description="Continual learning; unset: none.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of every interval.")
