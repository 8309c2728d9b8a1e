"""Studies with known truth, drawn at random: what tests of evidence are held against.

The true accuracy of a pair is `accuracy` + effect of its model + of its recipe + of both together,
each normal. A run's own accuracy adds seed noise. Its outcomes are one 0 or 1 an image: right
where the image's difficulty, uniform between 0 and 1, lies below the run's accuracy. The difficulty
is the image's own, the model's for that image, or the run's, so that runs on the same images are
correlated as asked. A score is a normal variable whose correlation with the models' effects is
given, read off with probe noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy
import polars

from xferpipe.seeding import numpy_generator

NEW = "new"


@dataclass(frozen=True)
class Score:
    """A score and what it knows of the models.

    Attributes:
        method: Its name.
        correlation: Of the score, free of probe noise, with the models' effects on target `NEW`.
        probe_noise: Standard deviation of the measured value; the score's own is 1.
        earlier_correlation: The same on earlier targets; None: `correlation`.
    """

    method: str = "lfc"
    correlation: float = 0.5
    probe_noise: float = 0.03
    earlier_correlation: float | None = None


@dataclass(frozen=True)
class Setting:
    """One kind of study. Accuracies, spreads and noise are fractions; spreads and noise are
    standard deviations.

    Attributes:
        models, recipes, seeds: How many of each; every combination is a run.
        effects: The models' effects on target `NEW`; None: drawn with spread `model_spread`.
        image_correlation: Of the outcomes of two models on one image (of equal accuracy).
        model_image_correlation: Of two runs of one model.
        diverged: Share of runs that diverge.
        scores: The scores; they are independent given the models' effects.
        earlier_targets: Targets before `NEW`, named earlier0, earlier1 ...
        memory: Correlation of a model's effects on two targets.
    """

    models: int = 8
    recipes: int = 1
    seeds: int = 2
    validation_images: int = 179
    test_images: int = 179
    accuracy: float = 0.8
    model_spread: float = 0.02
    recipe_spread: float = 0.0
    interaction_spread: float = 0.0
    effects: tuple[float, ...] | None = None
    seed_noise: float = 0.01
    image_correlation: float = 0.4
    model_image_correlation: float = 0.6
    diverged: float = 0.0
    scores: tuple[Score, ...] = (Score(),)
    earlier_targets: int = 0
    memory: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.image_correlation <= self.model_image_correlation <= 1:
            raise ValueError(
                f"correlations {self.image_correlation} of models and "
                f"{self.model_image_correlation} within a model: expected 0 <= first <= second <= 1"
            )
        if self.effects is not None and len(self.effects) != self.models:
            raise ValueError(f"{len(self.effects)} effects for {self.models} models")
        parts = (self.model_spread, self.recipe_spread, self.interaction_spread, self.seed_noise)
        reach = 3 * numpy.linalg.norm(parts)
        if not reach <= self.accuracy <= 1 - reach:
            raise ValueError(
                f"accuracy {self.accuracy} with three deviations of {reach / 3:.3f} leaves 0 to 1"
            )


class Study(NamedTuple):
    """One study as frames; each has a column `target`.

    Attributes:
        runs: model, recipe, seed, status, validation, images, outcomes (List[Float64], of the
            validation images), test, test_outcomes (of the test images), seconds. All runs of a
            target have the same images in the same order. A diverged run has nulls.
        scores: Rows of table `scores`; the 95 % interval holds the probe noise alone.
        truth: model, recipe, accuracy: the mean over all seeds and images.
    """

    runs: polars.DataFrame
    scores: polars.DataFrame
    truth: polars.DataFrame


def generate(setting: Setting, studies: int, seed: int = 0) -> Iterator[Study]:
    """Draw studies; study i is the same whatever the number of studies.

    Args:
        setting: Their kind.
        studies: How many.
        seed: Seed.
    Yields:
        The studies.
    """
    for i in range(studies):
        yield _study(setting, numpy_generator(seed, "simulated", i))


def _study(setting: Setting, generator: numpy.random.Generator) -> Study:
    """Draw one study."""
    targets = [f"earlier{i}" for i in range(setting.earlier_targets)] + [NEW]
    lasting = generator.standard_normal(setting.models)
    base_seconds = numpy.exp(generator.normal(3, 0.5, setting.models))
    parts = []
    for target in targets:
        fresh = generator.standard_normal(setting.models)
        strength = numpy.sqrt(setting.memory) * lasting + numpy.sqrt(1 - setting.memory) * fresh
        effects = setting.model_spread * strength
        if target == NEW and setting.effects is not None:
            effects = numpy.array(setting.effects)
            strength = (effects - effects.mean()) / (effects.std() or 1.0)
        accuracy = _accuracy(setting, effects, generator)
        parts.append(
            Study(
                _runs(setting, accuracy, base_seconds, generator),
                _scores(setting, strength, target, generator),
                _truth(accuracy),
            )
        )
    columns = [polars.lit(target).alias("target") for target in targets]
    return Study(
        *(
            polars.concat(
                [frame.select(columns[i], *frame.columns) for i, frame in enumerate(kind)]
            )
            for kind in zip(*parts, strict=True)
        )
    )


def _names(models: int) -> list[str]:
    return [f"model{i}" for i in range(models)]


def _accuracy(
    setting: Setting, effects: numpy.ndarray, generator: numpy.random.Generator
) -> numpy.ndarray:
    """Draw the true accuracy of every pair (models, recipes)."""
    recipes = setting.recipe_spread * generator.standard_normal(setting.recipes)
    both = setting.interaction_spread * generator.standard_normal((setting.models, setting.recipes))
    return numpy.clip(setting.accuracy + effects[:, None] + recipes + both, 0, 1)


def _outcomes(
    setting: Setting, accuracy: numpy.ndarray, images: int, generator: numpy.random.Generator
) -> numpy.ndarray:
    """Draw what runs of the given accuracy (m, r, k) get right: 0 or 1, float64 (m, r, k, images).

    A run sees an image by its model's difficulty with chance s, the model by the image's own with
    chance w: outcomes of equal accuracy correlate by s^2 within a model and s^2 w^2 between models.
    """
    shape = (*accuracy.shape, images)
    within = setting.model_image_correlation
    s, w = numpy.sqrt(within), numpy.sqrt(setting.image_correlation / within if within else 0)
    own = generator.random(images)
    of_model = generator.random((shape[0], 1, 1, images))
    of_model = numpy.where(generator.random(of_model.shape) < w, own, of_model)
    difficulty = numpy.where(generator.random(shape) < s, of_model, generator.random(shape))
    return (difficulty < accuracy[..., None]).astype(numpy.float64)


def _runs(
    setting: Setting,
    accuracy: numpy.ndarray,
    base_seconds: numpy.ndarray,
    generator: numpy.random.Generator,
) -> polars.DataFrame:
    """Draw the runs of one target."""
    shape = (setting.models, setting.recipes, setting.seeds)
    noise = setting.seed_noise * generator.standard_normal(shape)
    run_accuracy = numpy.clip(accuracy[:, :, None] + noise, 0, 1)
    seconds = base_seconds[:, None, None] * numpy.exp(generator.normal(0, 0.05, shape))
    diverged = generator.random(shape).ravel() < setting.diverged
    columns: dict[str, polars.Series] = {}
    for split, images in (
        ("validation", setting.validation_images),
        ("test", setting.test_images),
    ):
        right = _outcomes(setting, run_accuracy, images, generator).reshape(-1, images)
        columns[split] = polars.Series(right.mean(axis=1))
        name = "outcomes" if split == "validation" else "test_outcomes"
        columns[name] = polars.Series(right).cast(polars.List(polars.Float64))
    model, recipe, run = (index.ravel() for index in numpy.indices(shape))
    figures = ["validation", "images", "outcomes", "test", "test_outcomes"]
    frame = polars.DataFrame(
        {
            "model": numpy.array(_names(setting.models))[model],
            "recipe": numpy.array([f"recipe{i}" for i in range(setting.recipes)])[recipe],
            "seed": run,
            "status": numpy.where(diverged, "diverged", "finished"),
            **columns,
            "images": numpy.full(len(run), setting.validation_images),
            "seconds": seconds.ravel(),
        }
    ).select("model", "recipe", "seed", "status", *figures, "seconds")
    if not diverged.any():
        return frame
    finished = polars.col("status") == "finished"
    return frame.with_columns(polars.when(finished).then(polars.col(name)) for name in figures)


def _scores(
    setting: Setting, strength: numpy.ndarray, target: str, generator: numpy.random.Generator
) -> polars.DataFrame:
    """Draw the scores of models whose effects, in standard deviations, are given (m)."""
    empty = {"model": polars.String, "method": polars.String, "variant": polars.String}
    frames = [polars.DataFrame(schema={**empty, **dict.fromkeys(("value", "low", "high"), float)})]
    for score in setting.scores:
        rho = score.correlation
        if target != NEW and score.earlier_correlation is not None:
            rho = score.earlier_correlation
        other = generator.standard_normal(setting.models)
        value = rho * strength + numpy.sqrt(1 - rho**2) * other
        value = value + score.probe_noise * generator.standard_normal(setting.models)
        reach = 1.96 * score.probe_noise
        frames.append(
            polars.DataFrame(
                {
                    "model": _names(setting.models),
                    "method": [score.method] * setting.models,
                    "variant": [""] * setting.models,
                    "value": value,
                    "low": value - reach,
                    "high": value + reach,
                }
            )
        )
    return polars.concat(frames)


def _truth(accuracy: numpy.ndarray) -> polars.DataFrame:
    """Tell the true accuracy of every pair."""
    model, recipe = (index.ravel() for index in numpy.indices(accuracy.shape))
    return polars.DataFrame(
        {
            "model": numpy.array(_names(len(accuracy)))[model],
            "recipe": numpy.array([f"recipe{i}" for i in range(accuracy.shape[1])])[recipe],
            "accuracy": accuracy.ravel(),
        }
    )
