"""Table `efficiency`: spend runs on more models, or on more recipes of one model?"""

from __future__ import annotations

import numpy
import polars

from xferpipe.aggregate.by_model import BEST, BEST_ON_TEST, PLACE, by_model
from xferpipe.aggregate.orders import best_of_first, sum_of_first
from xferpipe.aggregate.redraws import ends, redraw
from xferpipe.aggregate.selection import Known
from xferpipe.config.study import Selection
from xferpipe.records import empty, frame


def efficiency(
    selection: Selection,
    runs: polars.DataFrame,
    gains: polars.DataFrame,
    seed: int,
    *,
    known: Known = lambda *place: {},
) -> polars.DataFrame:
    """Set the zoo against a hyper-parameter search of the reference model, run for run.

    Both keep the run that validates best and report its test figure. The search tries the reference
    model's recipes in random order (closed form).

    Args:
        selection: Names the reference model; without one there is no search.
        runs: Rows of `oracle.oracle`.
        gains: Table `gains`.
        seed: Seed of the study.
        known: Gives the outcomes by image of a place.
    Returns:
        Table `efficiency`: rows of the zoo for single recipes, and rows of the search.
    """
    single = gains.filter(~polars.col("recipe").is_in([BEST, BEST_ON_TEST]))
    zoo = single.select(
        *PLACE,
        "chosen_on",
        "recipe",
        "method",
        "variant",
        "redrawn",
        "seconds",
        strategy=polars.lit("zoo"),
        model=polars.lit(None, polars.String),
        runs=polars.col("k"),
        value=polars.col("best_of_k"),
        value_low=polars.col("best_of_k_low"),
        value_high=polars.col("best_of_k_high"),
    )
    columns = empty("efficiency").columns
    search = _search(selection, runs, seed, known)
    return polars.concat([zoo.select(columns), search.select(columns)])


def _search(
    selection: Selection, runs: polars.DataFrame, seed: int, known: Known
) -> polars.DataFrame:
    rows = []
    reference = selection.reference_model
    if reference is None:
        return frame("efficiency", [])
    own = by_model(runs).filter(
        polars.col("model") == reference,
        ~polars.col("recipe").is_in([BEST, BEST_ON_TEST]),
        polars.col("key").is_not_null(),
    )
    for place, group in own.group_by(PLACE, maintain_order=True):
        names = dict(zip(PLACE, place, strict=True))
        draws = redraw(group, runs.filter(**names), known(*place), seed)
        value, key = group["value"].to_numpy(), group["key"].to_numpy()
        order = numpy.zeros(len(value))
        spent = sum_of_first(group["seconds"].fill_null(0.0).to_numpy(), order)
        expected = best_of_first(value[None], order, key[None])[0]
        low = high = [None] * len(value)
        if draws.over is not None:
            redrawn = best_of_first(draws.value, order, draws.key)
            low, high = ends(redrawn, expected, selection.confidence).tolist()
        names |= {"strategy": "search", "model": reference, "method": "random", "variant": ""}
        for i, seconds in enumerate(spent):
            rows.append(
                names
                | {
                    "chosen_on": group["chosen_on"][0],
                    "runs": i + 1,
                    "value": float(expected[i]),
                    "value_low": low[i],
                    "value_high": high[i],
                    "redrawn": draws.over,
                    "seconds": float(seconds),
                }
            )
    return frame("efficiency", rows)
