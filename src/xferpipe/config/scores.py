"""Scores: which methods exist, where each is written, and how they are computed."""

from __future__ import annotations

from pydantic import Field, field_validator

from xferpipe.config.base import Block

#: Method name -> module in `xferpipe.scores`. The table is here, and not beside the scores, so that
#: Snakemake knows the names without importing torch and adding one leaves the others' keys alone.
METHODS: dict[str, str] = {
    "lfc": "lfc",
    "lfc_centered": "lfc",
    "leep": "leep",
    "knn": "knn",
    "linear_probe": "linear_probe",
    "source_accuracy": "baselines",
    "parameters": "baselines",
    "random": "baselines",
}


class Probe(Block):
    """The labelled images that scores may see: a part of the training split, never the test split."""

    images_per_class: int | None = Field(
        25, ge=2, description="At most this many images of each class; null: all."
    )


class Scores(Block):
    """What is computed from the probe images' features."""

    methods: tuple[str, ...] = Field(
        ("lfc", "lfc_centered", "leep", "knn", "linear_probe", "source_accuracy", "parameters"),
        description="Methods to compute, by name.",
    )
    bootstrap_samples: int = Field(
        200, ge=0, description="Bootstrap draws over probe images for each interval; 0: none."
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            if method not in METHODS:
                raise ValueError(f"unknown score {method!r}; allowed: {', '.join(sorted(METHODS))}")
        if len(set(methods)) != len(methods):
            raise ValueError("a score is named twice")
        return methods
