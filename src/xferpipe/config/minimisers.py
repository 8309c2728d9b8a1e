"""Minimiser probes: which pretrained solutions are examined, and how.

Every probe reads the same stratified images of each split, so that its figures can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal

from pydantic import Field, model_validator

from xferpipe.config.base import Block, Name
from xferpipe.config.nearest import suggestion
from xferpipe.config.recipes import Recipe
from xferpipe.config.zoo import ZooEntry


class Sample(Block):
    """The images that every probe of a model shares: the same number of every class."""

    train_images: int = Field(
        1000, ge=2, description="Images of the training split, also for batch-norm refreshes."
    )
    test_images: int | None = Field(
        None, ge=2, description="Images of the test split; null: all of them."
    )
    batch_size: int = Field(
        250, ge=1, description="Images of one pass; figures do not depend on it."
    )
    refresh_batch_size: int = Field(
        250, ge=2, description="Batch of batch-norm refreshes, which do depend on it."
    )


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
        "all", description="Pairs of zoo entries, or every pair of probed ones that can be paired."
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
        1.0, ge=0, description="Weight of the Euclidean distance beside the loss (low_loss)."
    )


class Continual(Block):
    """Fine-tune on one part of a target, then on the next, and measure what is forgotten."""

    recipe: Name = Field(description="Fine-tuning recipe of each part.")
    models: tuple[Name, ...] | Literal["all"] = Field(
        "all", description="Which of the probed models, or all of them."
    )
    parts: int = Field(2, ge=2, description="Parts that the training split is cut into.")
    part_by: Literal["classes", "images"] = Field(
        "classes", description="Cut the classes, or the images of every class."
    )
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="Seeds of repeated runs.")


class Minimisers(Block):
    """What is measured of each pretrained solution, and of what it becomes when fine-tuned."""

    models: tuple[Name, ...] | Literal["all"] = Field(
        "all", description="Entries with `weights: pretrain` to probe, or all of them."
    )
    sample: Sample = Field(Sample(), description="Images that the probes share.")
    inputs: InputProbes = Field(InputProbes(), description="Perturbations of the images.")
    energy: LocalEnergy = Field(LocalEnergy(), description="Perturbations of the weights.")
    paths: Paths | None = Field(Paths(), description="Paths between solutions; null: none.")
    finetuned: tuple[Name, ...] | Literal["all"] = Field(
        "all",
        description="Fine-tuning recipes whose models are probed on their target's test images, "
        "or all; an empty list: none.",
    )
    continual: Continual | None = Field(None, description="Continual learning; null: none.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of every interval.")

    def probed(self, zoo: Mapping[str, ZooEntry]) -> list[str]:
        """Name the entries that are probed, in the order of the zoo."""
        chosen = zoo if self.models == "all" else self.models
        return [name for name in zoo if name in chosen and zoo[name].weights == "pretrain"]

    def pairs(
        self, zoo: Mapping[str, ZooEntry], recipes: Mapping[str, Recipe]
    ) -> list[tuple[str, str]]:
        """Name the pairs that paths are drawn between; `recipes` are those of pretraining."""
        if self.paths is None:
            return []
        if self.paths.pairs != "all":
            return list(self.paths.pairs)
        every = combinations(self.probed(zoo), 2)
        return [(a, b) for a, b in every if _space(zoo[a], recipes) == _space(zoo[b], recipes)]

    def check(
        self,
        zoo: Mapping[str, ZooEntry],
        pretraining: Mapping[str, Recipe],
        finetuning: Mapping[str, Recipe],
    ) -> None:
        """Check the names against the study's entries and recipes.

        Raises:
            ValueError: A name is not defined, or a pair's solutions have no common space.
        """
        pretrained = [name for name, entry in zoo.items() if entry.weights == "pretrain"]
        listed = ", ".join(pretrained) or "(none)"
        for name in () if self.models == "all" else self.models:
            if name not in pretrained:
                raise ValueError(
                    f"minimisers.models: {name!r} is no zoo entry with weights: pretrain, so there "
                    f"are no source images to probe it on{suggestion(name, pretrained)}; "
                    f"allowed: {listed}"
                )
        for first, second in () if self.paths is None else self.pairs(zoo, pretraining):
            for name in (first, second):
                if name not in self.probed(zoo):
                    raise ValueError(
                        f"minimisers.paths.pairs: {name!r} is not among the probed models; "
                        f"allowed: {', '.join(self.probed(zoo)) or '(none)'}"
                    )
            if first == second:
                raise ValueError(f"minimisers.paths.pairs: {first!r} is paired with itself")
            if _space(zoo[first], pretraining) != _space(zoo[second], pretraining):
                raise ValueError(
                    f"minimisers.paths.pairs: {first!r} and {second!r} differ in architecture, "
                    "preprocessing, source or evaluation size: no way leads between their weights"
                )
        named = [("finetuned", name) for name in self.finetuned if self.finetuned != "all"]
        if self.continual is not None:
            named.append(("continual.recipe", self.continual.recipe))
        for key, name in named:
            if name not in finetuning:
                raise ValueError(
                    f"minimisers.{key}: {name!r} is not defined in finetuning_recipes"
                    f"{suggestion(name, finetuning)}; allowed: {', '.join(finetuning) or '(none)'}"
                )
        if self.continual is not None and self.continual.models != "all":
            for name in self.continual.models:
                if name not in self.probed(zoo):
                    raise ValueError(
                        f"minimisers.continual.models: {name!r} is not among the probed models; "
                        f"allowed: {', '.join(self.probed(zoo)) or '(none)'}"
                    )


def _space(entry: ZooEntry, recipes: Mapping[str, Recipe]) -> dict[str, object]:
    """Return what two entries must share for their weights to be points of one space."""
    apart = {"weights", "recipe", "initial", "name", "licence"}
    recipe = recipes[entry.recipe]
    sizes = ("val_resize_size", "val_crop_size", "interpolation", "hyperrule", "surgery")
    return {name: value for name, value in entry if name not in apart} | {
        name: getattr(recipe, name) for name in sizes
    }
