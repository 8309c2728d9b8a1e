"""Redraws: what else the runs of a place could have shown, had seeds and images been drawn again.

The noise of a figure is that of its seeds and that of its images. Seeds: variance of test and
validation figures around the mean of their model and recipe, and what both share, pooled over all
that were run twice or more. Images: what each image was worth (right or wrong; average precision of
a query), redrawn alike for all models, so that an image that is hard for all moves all. A model
without outcomes of its own has binomial noise, from the number of images that the others have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy
import polars

from xferpipe.aggregate.gather import table_of
from xferpipe.seeding import numpy_generator

#: Redraws behind every interval.
REDRAWS = 500

_RUN = ["target", "shots", "model", "recipe", "seed"]


@dataclass(frozen=True)
class Outcomes:
    """What each image of one split was worth under each (model, recipe) of a place.

    Attributes:
        rows: Row of `figures` by (model, recipe).
        figures: Means over seeds, float32 (rows, images), 0..1.
    """

    rows: Mapping[tuple[str, str], int]
    figures: numpy.ndarray

    def __len__(self) -> int:
        """Return the number of images; 0 where nothing is known of any."""
        return self.figures.shape[1]


NOTHING = Outcomes({}, numpy.zeros((0, 0)))


@dataclass(frozen=True)
class Redraws:
    """Redrawn figures of the models of one group.

    Attributes:
        value: Test figures, float (b, m).
        key: What choices read, float (b, m).
        over: What was redrawn: seeds, images, or seeds and images; null where neither is known.
    """

    value: numpy.ndarray
    key: numpy.ndarray
    over: str | None


def outcomes(folder: Path, target: str, shots: str, metric: str) -> dict[str, Outcomes]:
    """Read what each image or query of a place was worth.

    Args:
        folder: Folder of the gathered tables.
        target: Target.
        shots: Shots.
        metric: accuracy or map; nothing is known by image of any other.
    Returns:
        Outcomes by split, validation and test.
    """
    if metric == "map":
        source, split, row = table_of("retrieval_queries", folder), polars.lit("test"), "query"
        source, worth = source.filter(~polars.col("reranked")), polars.col("ap")
    elif metric == "accuracy":
        source, split, row = table_of("predictions", folder), polars.col("split"), "row"
        worth = (polars.col("predicted") == polars.col("label")).cast(polars.Float64)
    else:
        return {}
    try:
        rows = (
            source.filter(polars.col("target") == target, polars.col("shots") == shots)
            .group_by("model", "recipe", split=split, row=row)
            .agg(worth=worth.mean())
            .filter(polars.col("worth").is_not_null())
            .collect(engine="streaming")
        )
    except FileNotFoundError:
        # Tables of an older version are judged without it.
        return {}
    return {name: _matrix(part) for (name,), part in rows.group_by("split")}


def _matrix(rows: polars.DataFrame) -> Outcomes:
    """Return the outcomes of one split; images that not all have are left out for all."""
    pairs = rows.select("model", "recipe").unique().sort("model", "recipe").with_row_index("line")
    line = rows.join(pairs, on=["model", "recipe"], maintain_order="left")["line"].to_numpy()
    _, column = numpy.unique(rows["row"].to_numpy(), return_inverse=True)
    figures = numpy.full((pairs.height, int(column.max()) + 1), numpy.nan, numpy.float32)
    figures[line, column] = rows["worth"].to_numpy()
    number = {(model, recipe): i for i, model, recipe in pairs.iter_rows()}
    return Outcomes(number, figures[:, numpy.isfinite(figures).all(axis=0)])


def redraw(
    group: polars.DataFrame,
    runs: polars.DataFrame,
    found: Mapping[str, Outcomes],
    seed: int,
) -> Redraws:
    """Redraw the figures of the models of one group.

    Args:
        group: Rows of `by_model` of one target, shots, recipe and metric.
        runs: Rows of `oracle` of the same target, shots and metric, of all recipes.
        found: Outcomes by split.
        seed: Seed of the study.
    Returns:
        The redraws; without any noise that is known they all are the figures themselves.
    """
    place = group.select("target", "shots", "metric").row(0)
    pairs = group.select("model", "chosen_recipe").rows()
    value, key = group["value"].to_numpy(), group["key"].to_numpy()
    on_test = group["chosen_on"][0] == "test"
    spread, freedom = _seed_deviations(runs)
    generator = numpy_generator(seed, "redraws", *place)
    over = []
    noise = numpy.zeros((2, REDRAWS, len(pairs)))
    if spread is not None:
        over.append("seeds")
        draws = generator.standard_normal((REDRAWS, len(pairs), 2)) @ spread.T
        # The deviation itself is known from few runs: Student's distribution.
        draws *= numpy.sqrt(freedom / generator.chisquare(freedom, (REDRAWS, 1, 1)))
        noise += numpy.moveaxis(draws, 2, 0) / numpy.sqrt(group["runs"].to_numpy())
    for i, (split, figure) in enumerate((("test", value), ("validation", key))):
        own = found.get(split, NOTHING)
        if len(own) and not (on_test and split == "validation"):
            noise[i] += _image_noise(own, pairs, figure, generator)
            over.append("images")
    if on_test:
        noise[1] = noise[0]
    words = " and ".join(dict.fromkeys(over)) or None
    return Redraws(value + noise[0], key + noise[1], words)


def _seed_deviations(runs: polars.DataFrame) -> tuple[numpy.ndarray | None, int]:
    """Return a root of the pooled covariance of one run's test and validation figure (2, 2).

    Beside it its degrees of freedom; None and 0 where no run was repeated.
    """
    own = polars.col("value", "validation")
    groups = ["model", "recipe"]
    repeated = runs.filter(polars.len().over(groups) > 1)
    freedom = repeated.height - repeated.select(groups).n_unique()
    if not freedom:
        return None, 0
    apart = repeated.select(own - own.mean().over(groups)).fill_null(0.0).to_numpy()
    values, vectors = numpy.linalg.eigh(apart.T @ apart / freedom)
    return vectors * numpy.sqrt(numpy.maximum(values, 0)), freedom


def _image_noise(
    own: Outcomes,
    pairs: list[tuple[str, str]],
    figure: numpy.ndarray,
    generator: numpy.random.Generator,
) -> numpy.ndarray:
    """Return deviations of the figures over redraws of the images (b, m).

    Every image is weighted by 1 plus a normal deviate, the same for all models: the bootstrap with
    multipliers, which has no ties.
    """
    images = len(own)
    share = numpy.clip(numpy.nan_to_num(figure), 0, 1)
    result = generator.standard_normal((REDRAWS, len(pairs)))
    result *= numpy.sqrt(share * (1 - share) / images)
    known = [i for i, pair in enumerate(pairs) if pair in own.rows]
    figures = own.figures[[own.rows[pairs[i]] for i in known]]
    apart = figures - figures.mean(axis=1, keepdims=True)
    multipliers = generator.standard_normal((images, REDRAWS), numpy.float32)
    result[:, known] = (apart @ multipliers).T / images
    return result


def ends(draws: numpy.ndarray, value: numpy.ndarray, confidence: float) -> numpy.ndarray:
    """Return the interval of figures from their redraws, moved so that their median is the figure.

    Redraws carry the noise twice, that of the study and their own, which moves whatever chooses.

    Args:
        draws: float (b, ...).
        value: Figures, float (...).
        confidence: Level of the interval.
    Returns:
        Lower and upper ends, float (2, ...).
    """
    tail = (1 - confidence) / 2
    found = numpy.quantile(draws, [tail, 1 - tail], axis=0) - numpy.median(draws, axis=0) + value
    return numpy.stack([numpy.minimum(found[0], value), numpy.maximum(found[1], value)])
