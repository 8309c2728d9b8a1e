"""Table `answers`: which model and recipe to fine-tune on each target, and how sure that is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import polars

from xferpipe.aggregate.earlier import Earlier
from xferpipe.aggregate.gather import table_of
from xferpipe.aggregate.measured import measured, shown_figures
from xferpipe.aggregate.oracle import oracle, own_results
from xferpipe.config.study import Selection
from xferpipe.evidence.answers import Asked, answer_for
from xferpipe.records import empty

#: Pairs that could be run are listed up to so many; beyond, only those of the commonest recipe.
MOST = 200


def answers(
    folder: Path,
    asked: Mapping[tuple[str, str], Asked],
    *,
    recipes: Mapping[tuple[str, str], Iterable[str]],
    own: Path | None,
    earlier: Earlier,
    left_out: Collection[str] = (),
) -> polars.DataFrame:
    """Answer for some targets from the gathered tables.

    What is known of a target are its runs, the user's own results, scores, the models' cards, and
    earlier targets: those of the history files, and the study's other targets, as far as they are
    of other data sets.

    Args:
        folder: Folder of the gathered tables.
        asked: What is asked, by (target, shots).
        recipes: Recipes that could be run, by (target, shots); taken where none was run there.
        own: The user's own results, or None.
        earlier: What other targets say.
        left_out: Models that are no answer; of the target, nothing of them counts.
    Returns:
        Table `answers`, in the order of `asked`.
    Raises:
        ValueError: Own results cannot be read.
    """
    tests = shown_figures(folder)
    results = None
    if own is not None:
        # Refuses what cannot be set against the study's own runs.
        oracle(Selection(own_results=own), folder)
        results = own_results(own)
    allowed = ~polars.col("model").is_in(list(left_out))
    cards = table_of("zoo", folder).filter(allowed).collect()
    scores = table_of("scores", folder).filter(allowed).collect()
    decided = table_of("decisions", folder).filter(allowed).collect()
    timed = table_of("finetunes", folder).select("target", "model", "recipe", "seconds").collect()
    parts = [empty("answers")]
    for (target, shots), question in asked.items():
        here = {"target": target, "shots": shots}
        found = measured(folder, target, shots, tests, results)
        runs = found.runs.filter(allowed)
        raced = decided.filter(**here).select("model", "recipe").unique(maintain_order=True)
        rows = answer_for(
            question,
            _candidates(runs, raced, cards, recipes.get((target, shots), ())),
            runs,
            scores.filter(**here),
            cards,
            earlier.of(target),
            timed.filter(polars.col("target") != target),
        )
        place = here | {"metric": found.metric, "chosen_on": found.chosen_on}
        named = (polars.lit(value, polars.String).alias(name) for name, value in place.items())
        parts.append(rows.with_columns(named).select(empty("answers").columns))
    return polars.concat(parts)


def _candidates(
    runs: polars.DataFrame, raced: polars.DataFrame, zoo: polars.DataFrame, usual: Iterable[str]
) -> polars.DataFrame:
    """Return the pairs that could be run: model, recipe, races.

    They are all models of the zoo with the recipes that were run or race here, else with the usual
    ones; with no recipe, where none is known.
    """
    known = polars.concat([runs.select("model", "recipe"), raced])
    counts = known.unique().group_by("recipe").len().sort("len", "recipe", descending=[True, False])
    recipes: list[str | None] = counts["recipe"].to_list() or list(usual) or [None]
    models = zoo["model"].unique(maintain_order=True).to_list()
    if len(models) * len(recipes) > MOST:
        recipes = recipes[:1]
    possible = polars.DataFrame(
        [(model, recipe) for model in models for recipe in recipes],
        schema={"model": polars.String, "recipe": polars.String},
        orient="row",
    )
    return polars.concat(
        [
            raced.with_columns(races=polars.lit(value=True)),
            possible.with_columns(races=polars.lit(value=False)),
        ]
    ).unique(["model", "recipe"], keep="first", maintain_order=True)


def places_of(folder: Path) -> list[tuple[str, str]]:
    """Return every (target, shots) with a fine-tune or a score, in order of appearance."""
    pairs = [table_of(name, folder).select("target", "shots") for name in ("finetunes", "scores")]
    return polars.concat(pairs).unique(maintain_order=True).collect().rows()
