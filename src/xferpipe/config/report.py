"""What a study sets beside its own figures: published ones, and rules to be tested."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xferpipe.config.base import Block, Name
from xferpipe.config.scores import Probe


class Published(Block):
    """One figure that somebody else printed for a run of this study."""

    target: Name = Field(description="Target of the run.")
    model: Name = Field(description="Zoo entry of the run.")
    recipe: Name = Field(description="Fine-tuning recipe of the run.")
    shots: int | Literal["full"] = Field("full", description="Training images per class, or full.")
    value: float = Field(ge=0, le=1, description="The printed figure, as a fraction.")


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

    def covers(self, target: str, shots: int | str, model: str, recipe: str, seed: int) -> bool:
        """Tell whether a run is among those that are looked at."""
        asked = (
            (self.targets, target),
            (self.shots, shots),
            (self.models, model),
            (self.recipes, recipe),
            (self.seeds, seed),
        )
        return all(names == "all" or name in names for names, name in asked)


class Report(Block):
    """What the report sets beside the study's figures."""

    figure: str = Field(
        "", description="What the published figures are, in words: 'top-1 accuracy'."
    )
    published: tuple[Published, ...] = Field((), description="Published figures, by run.")
    comparisons: tuple[Comparison, ...] = Field((), description="Rules to test, as pairs of runs.")
    feature_correlation: FeatureCorrelation | None = Field(
        None, description="Fine-tunes whose features are compared on the way; null: none."
    )
