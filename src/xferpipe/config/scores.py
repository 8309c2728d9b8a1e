"""Scores: which methods exist, where each is written, and how they are computed."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Literal

from pydantic import Field, field_validator, model_validator

from xferpipe.config.base import Block, Name
from xferpipe.config.nearest import suggestion

#: Method name -> module in `xferpipe.scores`. The table is here, and not beside the scores, so that
#: Snakemake knows the names without importing torch and adding one leaves the others' keys alone.
METHODS: dict[str, str] = {
    "lfc": "label_feature",
    "lfc_centered": "label_feature",
    "lgc": "label_gradient",
    "leep": "source_posterior",
    "nce": "source_posterior",
    "n_leep": "mixture",
    "rsa": "representation",
    "rsa_zscored": "representation",
    "parc": "representation",
    "domain_similarity": "source_distance",
    "feature_metrics": "activation",
    "h_score": "between_class",
    "h_score_regularized": "between_class",
    "logme": "maximum_evidence",
    "transrate": "coding_rate",
    "gbc_diagonal": "bhattacharyya",
    "gbc_spherical": "bhattacharyya",
    "sfda": "fisher",
    "etran": "fisher",
    "ncti": "neural_collapse",
    "pactran": "pac_bayes",
    "knn": "neighbours",
    "linear_probe": "probes",
    "source_accuracy": "baselines",
    "parameters": "baselines",
    "random": "baselines",
}

#: Properties of pretrained solutions that are judged beside the scores, where a study probes them.
PROPERTIES = (
    "noise_accuracy",
    "mask_accuracy",
    "fgsm_accuracy",
    "local_energy",
    "weight_norm",
    "weight_travel",
    "weight_distance",
    "path_barrier",
)

#: Scores that need no pass of the probe images through the model, so its seconds are not theirs.
WITHOUT_FEATURES = frozenset({"source_accuracy", "parameters", "random", *PROPERTIES})

#: Part of a score's largest value that it is not more precise than: some rest on float32 products.
PRECISION = 1e-7

#: Entry-point group by which a distribution of the user's own adds scores.
ENTRY_POINT_GROUP = "xferpipe.scores"


def own_methods() -> dict[str, str]:
    """Return the scores of other installed distributions: name -> "module:function".

    Nothing is imported: a name in a study is checked against what is installed alone.
    """
    return {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}


def module_of(method: str) -> str:
    """Return the dotted module that computes a score.

    Raises:
        ValueError: No such score, here or among the installed entry points.
    """
    if method in METHODS:
        return f"xferpipe.scores.{METHODS[method]}"
    own = own_methods()
    if method not in own:
        known = sorted({*METHODS, *own})
        raise ValueError(
            f"unknown score {method!r}{suggestion(method, known)}; allowed: {', '.join(known)}; "
            f"a score of your own joins by the entry-point group {ENTRY_POINT_GROUP!r}"
        )
    return own[method].partition(":")[0]


class Probe(Block):
    """The labelled images that scores may see: part of the training split, never of the test."""

    images_per_class: int | None = Field(
        25, ge=2, description="At most this many images of each class; null: all."
    )


class Gradients(Block):
    """How the per-image gradients behind LGC are taken."""

    scalars: tuple[Literal["ntk_trace", "logit_sum", "pseudo_label_loss", "random_head"], ...] = (
        Field(
            ("ntk_trace",),
            description="Scalars of the output that are differentiated, one LGC each.",
        )
    )
    sketches: tuple[Literal["kronecker", "sparse", "srht", "rademacher", "gaussian"], ...] = Field(
        (), description="Random projections whose LGC is computed beside the exact one."
    )
    projected_dimensions: int = Field(
        10_000,
        ge=2,
        description="Dimensions that a random projection leaves, in two independent halves.",
    )


class Reference(Block):
    """The small network trained on each target that RSA compares features with."""

    model: Name = Field(description="Zoo entry that it starts from; ResNet-18, random weights.")
    recipe: Name = Field(description="Fine-tuning recipe that trains it on the target.")
    seed: int = Field(0, ge=0, description="Seed of its training.")


class Scores(Block):
    """What is computed from the probe images' features."""

    methods: tuple[str, ...] = Field(
        ("lfc", "lfc_centered", "leep", "knn", "linear_probe", "source_accuracy", "parameters"),
        description="Methods to compute, by name.",
    )
    bootstrap_samples: int = Field(
        200, ge=0, description="Bootstrap draws over probe images for each interval; 0: none."
    )
    bootstrap_methods: tuple[str, ...] | None = Field(
        None,
        description="Methods that get an interval; null: those whose draws cost no recomputation.",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    minimum_class_images: int = Field(
        1, ge=1, description="Classes with fewer images are no part of domain similarity."
    )
    gradients: Gradients = Field(
        Gradients(), description="Gradients of the last convolution, taken where `lgc` is computed."
    )
    layers: tuple[str, ...] = Field(
        (),
        description="Further layers, by module name, whose LFC is computed; every zoo entry must "
        "have them.",
    )
    learning_rate: float = Field(
        0.01, gt=0, description="Step size of the linearised loss curve that LGC's rows give."
    )
    reference: Reference | None = Field(
        None, description="Network for `rsa` and `rsa_zscored`; null leaves these undefined."
    )
    steps: tuple[int, ...] = Field(
        (1, 10, 100), description="Steps at which the linearised loss curve is stored."
    )
    probe_sizes: tuple[int, ...] = Field(
        (),
        description="Further rows from the first so many probe images of each class (ablation); "
        "the probe itself must hold as many.",
    )

    @property
    def needs_gradients(self) -> bool:
        """Tell whether a pass through the model beside that for features is asked for."""
        return "lgc" in self.methods or bool(self.layers)

    @property
    def needs_reference(self) -> bool:
        """Tell whether a network trained on the target is asked for."""
        return self.reference is not None and bool({"rsa", "rsa_zscored"} & set(self.methods))

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            module_of(method)
        if len(set(methods)) != len(methods):
            raise ValueError("a score is named twice")
        return methods

    @model_validator(mode="after")
    def _consistent(self) -> Scores:
        for method in self.bootstrap_methods or ():
            if method not in self.methods:
                raise ValueError(
                    f"bootstrap_methods: {method!r} is not computed"
                    f"{suggestion(method, self.methods)}; allowed: {', '.join(self.methods)}"
                )
        if "lgc" in self.methods and not self.gradients.scalars:
            raise ValueError("gradients.scalars: lgc needs at least one")
        if any(size < 2 for size in self.probe_sizes):
            raise ValueError("probe_sizes: at least 2 images of each class are needed")
        return self
