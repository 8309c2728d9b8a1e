"""What a study sets beside its own figures: published ones, and rules to be tested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xferpipe.config.base import Block, Name
from xferpipe.config.scores import Probe

#: What a printed figure may be of -> the names that tell which figure of ours it stands beside.
QUANTITIES: dict[str, tuple[str, ...]] = {
    "finetuned": ("target", "recipe", "model"),
    "finetuned_distance": ("target", "recipe", "model"),
    "finetuned_epochs": ("target", "recipe", "model"),
    "source_accuracy": ("model",),
    "source_error": ("model",),
    "source_loss": ("model",),
    "distance_over_norm": (),
    "scoring_share": ("method",),
    "top_3_share": ("method",),
}

Quantity = Literal[
    "finetuned",
    "finetuned_distance",
    "finetuned_epochs",
    "source_accuracy",
    "source_error",
    "source_loss",
    "distance_over_norm",
    "scoring_share",
    "top_3_share",
]


#: Every figure by name, in the page's order. Each always becomes a file: a workflow asks for them
#: before it knows what the study holds.
FIGURES = (
    "models",
    "classes",
    "score_scatter",
    "agreement",
    "gain_at_k",
    "efficiency",
    "recipes",
    "published",
    "rules",
    "orders",
    "curves",
    "speed",
    "retrieval",
    "cmc",
    "ranked_lists",
    "robustness",
    "paths",
    "distances",
    "forgetting",
    "partial",
    "feature_correlation",
    "runtime",
)


class Published(Block):
    """One figure that somebody else printed; its table says of what quantity."""

    model: Name | None = Field(None, description="Zoo entry.")
    against: Name | None = Field(
        None, description="The figure is the difference of `model` from this zoo entry."
    )
    target: Name | None = Field(None, description="Target of a fine-tune.")
    recipe: Name | None = Field(None, description="Fine-tuning recipe.")
    method: str | None = Field(None, description="Score.")
    variant: str = Field("", description="Options of the score.")
    shots: int | Literal["full"] = Field("full", description="Training images per class, or full.")
    value: float = Field(description="The printed figure; accuracies and shares as fractions.")


class PublishedTable(Block):
    """Printed figures of one kind, for the report to set beside ours."""

    title: str = Field(description="What the figures are, as the report shows it.")
    quantity: Quantity = Field(
        description="Figure of ours: finetuned (accuracy or mAP of the chosen epoch on the test "
        "split), finetuned_distance (from the initial weights, last epoch), finetuned_epochs (to "
        "selection.speed_train_accuracy), source_accuracy, source_error, source_loss (of the "
        "pretrained model on its source's test split), distance_over_norm (of pairs of "
        "solutions), scoring_share, top_3_share (seconds of scoring, and of fine-tuning the first "
        "3, over those of fine-tuning every model; means over targets)."
    )
    comparable: str = Field(description="What ours differs in from what was printed.")
    figures: tuple[Published, ...] = Field(min_length=1, description="The printed figures.")

    @model_validator(mode="after")
    def _named(self) -> PublishedTable:
        needed = set(QUANTITIES[self.quantity])
        allowed = needed | ({"against"} if "model" in needed else set())
        for figure in self.figures:
            given = {
                name
                for name in ("model", "against", "target", "recipe", "method")
                if getattr(figure, name) is not None
            }
            if not needed <= given <= allowed:
                raise ValueError(
                    f"{self.title!r}: a figure of {self.quantity} is named by "
                    f"{', '.join(sorted(needed)) or 'nothing'}; given: "
                    f"{', '.join(sorted(given)) or 'nothing'}"
                )
        return self


class PublishedOrder(Block):
    """An order of models that somebody printed without figures, best first."""

    finding: str = Field(description="The finding in words, as the report shows it.")
    property: Literal[
        "noise_accuracy",
        "mask_accuracy",
        "fgsm_accuracy",
        "local_energy",
        "source_accuracy",
        "train_loss",
        "finetuned",
        "finetuned_distance",
    ] = Field(
        description="What orders them, for each intensity or target: accuracy under noise, masks "
        "or FGSM, on the source's test split and after fine-tuning, highest first; local energy, "
        "the training loss of the last epoch of pretraining and the distance covered in "
        "fine-tuning, lowest first."
    )
    models: tuple[Name | tuple[Name, ...], ...] = Field(
        min_length=2, description="Zoo entries, best first; a list for those left unordered."
    )
    recipe: Name | None = Field(None, description="Fine-tuning recipe of `finetuned...`.")

    @model_validator(mode="after")
    def _recipe_where_fine_tuned(self) -> PublishedOrder:
        if (self.recipe is None) == self.property.startswith("finetuned"):
            raise ValueError(
                f"{self.finding!r}: 'recipe' goes with property finetuned or finetuned_distance, "
                "and with no other"
            )
        return self

    def groups(self) -> list[tuple[str, ...]]:
        """Return the models in printed order, those left unordered together."""
        return [(name,) if isinstance(name, str) else name for name in self.models]


class Side(Block):
    """Runs on one side of a comparison: every model with every recipe, in the order given."""

    models: tuple[Name, ...] | Literal["all"] = Field("all", description="Zoo entries, or `all`.")
    recipes: tuple[Name, ...] = Field(min_length=1, description="Fine-tuning recipes.")


class Comparison(Block):
    """A rule of thumb as pairs of runs: the n-th of `worse` against the n-th of `better`."""

    rule: str = Field(description="The rule in words, as the report shows it.")
    worse: Side = Field(description="Runs that the rule says are worse.")
    better: Side = Field(description="Runs that the rule says are better.")

    @model_validator(mode="after")
    def _paired(self) -> Comparison:
        sizes = [
            (len(side.recipes), side.models if side.models == "all" else len(side.models))
            for side in (self.worse, self.better)
        ]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"rule {self.rule!r}: both sides need as many models and as many recipes"
            )
        return self


class FeaturesTaken(Block):
    """Part of a fine-tune's slice: when the features of which images are taken."""

    epochs: tuple[int, ...]
    images: int
    probe: Probe


class FeatureCorrelation(Block):
    """Fine-tunes whose features are compared before, during and after; the others take none."""

    targets: tuple[Name, ...] | Literal["all"] = Field("all", description="Targets, or `all`.")
    shots: tuple[Annotated[int, Field(ge=1)] | Literal["full"], ...] = Field(
        ("full",), description="Training images per class, or `full`."
    )
    models: tuple[Name, ...] | Literal["all"] = Field("all", description="Zoo entries, or `all`.")
    recipes: tuple[Name, ...] | Literal["all"] = Field(
        "all",
        description="Fine-tuning recipes, or `all` but those that cache features: these change "
        "none.",
    )
    seeds: tuple[int, ...] = Field((0,), description="Seeds of the runs.")
    epochs: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1,), description="Epochs after which features are taken, besides before and after all."
    )
    images: int = Field(
        100, ge=4, le=400, description="Probe images that are compared, each class alike, at most."
    )

    def covers(self, target: str, shots: str, model: str, recipe: str, seed: str) -> bool:
        """Tell whether a run is among those that are looked at; all are texts, as in its path."""
        asked = (
            (self.targets, target),
            (self.shots, shots),
            (self.models, model),
            (self.recipes, recipe),
            (self.seeds, seed),
        )
        return all(names == "all" or name in map(str, names) for names, name in asked)


class Report(Block):
    """What the report sets beside the study's figures."""

    published: tuple[PublishedTable, ...] = Field((), description="Published figures.")
    orders: tuple[PublishedOrder, ...] = Field((), description="Published orders of models.")
    comparisons: tuple[Comparison, ...] = Field((), description="Rules to test, as pairs of runs.")
    feature_correlation: FeatureCorrelation | None = Field(
        None, description="Fine-tunes whose features are compared on the way; null: none."
    )

    def names(self) -> Iterator[tuple[str, str, str]]:
        """Yield every name that the block uses: where, the kind of name, the name."""
        for table in self.published:
            for figure in table.figures:
                for kind in ("target", "model", "against", "recipe"):
                    if (name := getattr(figure, kind)) is not None:
                        yield f"report.published.{kind}", kind.replace("against", "model"), name
        for order in self.orders:
            for name in (name for group in order.groups() for name in group):
                yield "report.orders.models", "model", name
            if order.recipe is not None:
                yield "report.orders.recipe", "recipe", order.recipe
        for rule in self.comparisons:
            for side in (rule.worse, rule.better):
                for name in () if side.models == "all" else side.models:
                    yield "report.comparisons.models", "model", name
                for name in side.recipes:
                    yield "report.comparisons.recipes", "recipe", name
        asked = self.feature_correlation
        for key in () if asked is None else ("targets", "models", "recipes"):
            for name in () if getattr(asked, key) == "all" else getattr(asked, key):
                yield f"report.feature_correlation.{key}", key[:-1], name
