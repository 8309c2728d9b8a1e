"""Races: fine-tunes that a study runs only as far as its answer needs them."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from xferpipe.config.base import Block, Name

Shots = Annotated[int, Field(ge=1)] | Literal["full"]

#: Runs of a round where a study names no number: what a machine of two cores does at once.
BATCH = 2


class Run(NamedTuple):
    """What names one fine-tuning run: texts, in the order of its result path."""

    target: str
    shots: str
    model: str
    recipe: str
    seed: str


class Decided(NamedTuple):
    """What is decided of a race so far.

    Attributes:
        rounds: The runs that each round asked for, from round 0 on; none where it ended the race.
        stopped: Why the last round ended the race; None while it goes on.
    """

    rounds: tuple[tuple[Run, ...], ...] = ()
    stopped: str | None = None

    @property
    def known(self) -> int:
        """How many rounds there are: those decided, and the open one of a race that goes on."""
        return len(self.rounds) + (self.stopped is None)

    @property
    def runs(self) -> list[Run]:
        """All runs that were asked for, in their order."""
        return [run for asked in self.rounds for run in asked]


class Budget(Block):
    """What the answer of a race may cost."""

    runs: int | None = Field(None, ge=1, description="Fine-tuning runs; unset: a time counts.")
    minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Minutes of fine-tuning; unset: others count."
    )
    hours: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Hours of fine-tuning; unset: others count."
    )

    @model_validator(mode="after")
    def _one_is_given(self) -> Budget:
        if [self.runs, self.minutes, self.hours].count(None) != 2:
            raise ValueError(
                "expected either runs, minutes or hours, as {runs: 20}, {minutes: 30} or "
                "{hours: 1.5}"
            )
        return self

    @property
    def seconds(self) -> float | None:
        """The time in seconds; None where runs are counted."""
        if self.minutes is not None:
            return self.minutes * 60
        return None if self.hours is None else self.hours * 3600

    @property
    def words(self) -> str:
        """The budget for a person: `20 runs`, `5 min`, `1.5 h`."""
        if self.runs is not None:
            return f"{self.runs} {'run' if self.runs == 1 else 'runs'}"
        return f"{self.hours:g} h" if self.minutes is None else f"{self.minutes:g} min"


class Race(Block):
    """Pairs of a model and a recipe that race for a target: rounds of runs, until one is found.

    What the grids of `finetunes` run of these pairs counts as well, for the answer and for the
    budget.
    """

    targets: tuple[Name, ...] | Literal["all"] = Field("all", description="Targets, or `all`.")
    shots: tuple[Shots, ...] = Field(("full",), description="Training images per class, or `full`.")
    models: tuple[Name, ...] | Literal["all"] = Field("all", description="Zoo entries, or `all`.")
    recipes: tuple[Name, ...] | Literal["all"] = Field(
        "all", description="Fine-tuning recipes, or `all`."
    )
    budget: Budget = Field(
        description="What each race may cost, `{runs: N}`, `{minutes: M}` or `{hours: H}`. Runs "
        "that diverged count, and runs of `finetunes` among the pairs."
    )
    confidence: float = Field(
        0.9, gt=0, lt=1, description="Probability with which the named pair is to be the best."
    )
    indifference: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="Difference that does not matter, in the unit of the figure (a fraction).",
    )
    seeds: int = Field(3, ge=1, description="Most runs of one pair that the race asks for.")
    batch: int | None = Field(
        None,
        ge=1,
        description=f"Runs of a round, which run at once where there is room; null: {BATCH}. "
        "Part of the study and not of the machine, so that a race is the same everywhere.",
    )
    keep: Literal["winner", "top", "all"] = Field(
        "all",
        description="Whose weights `xferpipe prune` leaves when the race has ended: of the best "
        "pair, of the top group, or of all.",
    )

    @property
    def slots(self) -> int:
        """Runs of a round."""
        return BATCH if self.batch is None else self.batch

    def candidates(self) -> list[tuple[str, str]]:
        """Return the (model, recipe) pairs of a race whose names are filled in."""
        return list(dict.fromkeys((m, r) for m in self.models for r in self.recipes))
