"""Targets on which every model was fine-tuned with every recipe: races are replayed on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import polars

from xferpipe.evidence.history import CARD, SCHEMA
from xferpipe.evidence.observations import observe
from xferpipe.records import empty
from xferpipe.seeding import numpy_generator

PUBLISHED = Path(__file__).resolve().parents[1] / "data" / "published_transfer.csv"
#: What is assumed of published accuracies: images behind a validation figure, deviation of a seed.
PUBLISHED_IMAGES, PUBLISHED_SEEDS = 1000, 0.005


@dataclass(frozen=True)
class BruteForced:
    """One target with all of its runs; P pairs (model, recipe) of S seeds each.

    Attributes:
        name: Target.
        source: Image source.
        pairs: The pairs: model, recipe.
        runs: One row a run, pair by pair, seed by seed: model, recipe, seed, status, validation,
            images, outcomes, seconds.
        validation: Validation figures, fractions, float64 (P, S).
        seconds: float64 (P, S).
        test: Mean test figure over seeds, fractions, float64 (P): what picks are judged by.
        test_noise: Covariance of the test figures' angles over redraws of the test images, (P, P).
        scores, zoo: Rows of the tables of these names, as far as they are known.
        scoring_seconds: Time of each score over all models, by its name.
        history: Table `history` of all other image sources.
    """

    name: str
    source: str
    pairs: polars.DataFrame
    runs: polars.DataFrame
    validation: numpy.ndarray
    seconds: numpy.ndarray
    test: numpy.ndarray
    test_noise: numpy.ndarray
    scores: polars.DataFrame
    zoo: polars.DataFrame
    scoring_seconds: dict[str, float]
    history: polars.DataFrame

    @property
    def cost(self) -> float:
        """Seconds of brute force."""
        return float(self.seconds.sum())

    @property
    def found_by_brute_force(self) -> int:
        """The pair with the highest mean validation figure over all seeds."""
        return int(numpy.round(self.validation.mean(axis=1), 9).argmax())

    def reordered(self, generator: numpy.random.Generator) -> BruteForced:
        """Return the target with the seeds of each pair in a random order."""
        pairs, seeds = self.validation.shape
        order = generator.permuted(numpy.tile(numpy.arange(seeds), (pairs, 1)), axis=1)
        rows = (numpy.arange(pairs)[:, None] * seeds + order).ravel()
        return replace(
            self,
            runs=self.runs[rows].with_columns(seed=self.runs["seed"]),
            validation=numpy.take_along_axis(self.validation, order, axis=1),
            seconds=numpy.take_along_axis(self.seconds, order, axis=1),
        )


def of_history(history: polars.DataFrame) -> tuple[list[BruteForced], list[str]]:
    """Take the targets of table `history` that can be replayed.

    Args:
        history: Every run with its test figure and seconds.
    Returns:
        The targets, and in words what was left out: targets without test figures, and pairs that
        lack a seed or had a run that diverged.
    """
    found, left_out = [], []
    for (study, name, shots), rows in history.group_by(
        "study", "target", "shots", maintain_order=True
    ):
        runs = rows.filter(polars.col("kind") == "run").rename({"name": "recipe"})
        runs = runs.drop_nulls(["value", "test", "seconds"]).unique(
            ["model", "recipe", "seed"], keep="first", maintain_order=True
        )
        if not runs.height:
            left_out.append(f"{study}/{name}/{shots}: no run has a test figure and its seconds")
            continue
        counts = runs.group_by("model", "recipe", maintain_order=True).len()
        whole = counts.filter(polars.col("len") == counts["len"].max())
        if whole.height < counts.height:
            left_out.append(f"{study}/{name}/{shots}: {counts.height - whole.height} pairs")
        kept = runs.join(whole, on=["model", "recipe"], how="semi")
        if whole.height > 1:
            # One target at several training sizes is the same images: the source goes as a whole.
            others = history.filter(polars.col("source") != rows["source"][0])
            found.append(_target(f"{name}/{shots}", kept, rows, others))
    return found, left_out


def _target(
    name: str, runs: polars.DataFrame, rows: polars.DataFrame, history: polars.DataFrame
) -> BruteForced:
    runs = runs.sort("model", "recipe", "seed")
    pairs = runs.select("model", "recipe").unique(maintain_order=True)
    shape = (pairs.height, runs.height // pairs.height)
    outcomes = [
        None if bits is None or images is None else _unpacked(bits, images)
        for bits, images in runs.select("outcomes", "images").rows()
    ]
    seen = runs.select(
        "model",
        "recipe",
        seed=polars.Series(numpy.tile(numpy.arange(shape[1]), shape[0])),
        status=polars.lit("finished"),
        validation="value",
        images="images",
        outcomes=polars.Series(outcomes, dtype=polars.List(polars.Float64)),
        seconds="seconds",
    )
    scores = rows.filter(polars.col("kind") == "score")
    cards = rows.filter(polars.col("kind") == "card")
    timed = scores.group_by("name").agg(polars.col("seconds").sum())
    return BruteForced(
        name,
        rows["source"][0],
        pairs,
        seen,
        runs["value"].to_numpy().reshape(shape),
        runs["seconds"].to_numpy().reshape(shape),
        runs["test"].to_numpy().reshape(shape).mean(axis=1),
        _test_noise(seen, pairs, runs["test_images"].mean()),
        scores.select("model", method="name", variant=polars.lit(""), value="value"),
        _zoo(cards),
        dict(timed.rows()),
        history,
    )


def _unpacked(bits: bytes, images: int) -> list[float]:
    """Return what `packed` of a history holds: 0 or 1 an image."""
    unpacked = numpy.unpackbits(numpy.frombuffer(bits, numpy.uint8))
    if not images <= len(unpacked) < images + 8:
        raise ValueError(f"{len(bits)} bytes of outcomes cannot be those of {images} images")
    return unpacked[:images].astype(float).tolist()


def _test_noise(
    runs: polars.DataFrame, pairs: polars.DataFrame, test_images: float | None
) -> numpy.ndarray:
    """Return the image noise of the pairs' mean test figures, as angles (P, P).

    Outcomes of test images are not kept: they are taken to correlate as those of the validation
    images do.
    """
    seen = observe(runs, pairs)
    mean = numpy.eye(pairs.height)[:, seen.pair]
    mean = mean / mean.sum(axis=1, keepdims=True)
    scale = seen.images.mean() / test_images if test_images else 1.0
    return scale * (mean @ seen.image_noise @ mean.T)


def _zoo(cards: polars.DataFrame) -> polars.DataFrame:
    frame = cards.select("model").unique(maintain_order=True)
    for name in CARD:
        of_name = cards.filter(polars.col("name") == name)
        if of_name.height:
            values = of_name.select("model", polars.col("value").alias(name))
            frame = frame.join(values.unique("model"), on="model", how="left")
    return frame


def published(path: Path = PUBLISHED, *, seed: int = 0) -> dict[str, list[BruteForced]]:
    """Return the published tables, each with its targets.

    Each has one recipe and one figure a pair. That figure is the truth; what a run would have
    measured is drawn about it with the noise of `PUBLISHED_IMAGES` images and of a seed, which is
    assumed. A run costs its millions of parameters, 1 where they are not known (one architecture).

    Args:
        path: The tables, as in `data/README.md`.
        seed: Seed of the drawn noise.
    """
    table = polars.read_csv(path, infer_schema_length=None)
    found = {}
    for (source,), rows in table.group_by("source", maintain_order=True):
        generator = numpy_generator(seed, "published", source)
        accuracy = rows["accuracy"].to_numpy()
        drawn = accuracy + PUBLISHED_SEEDS * generator.standard_normal(len(accuracy))
        drawn = generator.binomial(PUBLISHED_IMAGES, drawn.clip(0, 1)) / PUBLISHED_IMAGES
        place = {"study": source, "shots": "full"}
        common = rows.select(
            *(polars.lit(value).alias(name) for name, value in place.items()),
            "target",
            "model",
            schema=polars.lit(SCHEMA, polars.Int64),
            source="target",
        )
        runs = common.with_columns(
            kind=polars.lit("run"),
            name=polars.lit("published"),
            seed=polars.lit(0, polars.Int64),
            metric=polars.lit("accuracy"),
            value=polars.Series(drawn),
            images=polars.lit(PUBLISHED_IMAGES, polars.Int64),
            test=rows["accuracy"],
            seconds=(rows["parameters"] / 1e6).fill_null(1.0),
        )
        others = []
        for column in rows.columns:
            kind = "card" if column in CARD else "score" if column.startswith("score_") else None
            if kind and rows[column].null_count() < rows.height:
                value = rows[column].cast(polars.Float64)
                others.append(
                    common.with_columns(
                        kind=polars.lit(kind),
                        name=polars.lit(column.removeprefix("score_")),
                        value=value,
                    ).filter(polars.col("value").is_not_null())
                )
        history = polars.concat([empty("history"), runs, *others], how="diagonal_relaxed")
        found[source], _ = of_history(history)
    return found
