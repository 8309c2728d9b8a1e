"""The cards at the head of the page: an answer each, and what bears on it."""

from __future__ import annotations

from dataclasses import dataclass

import polars

from xferpipe.aggregate.choice import NO_SCORES
from xferpipe.handover.card import recipe_words
from xferpipe.report.answer_words import AnswerWords, all_words
from xferpipe.report.evidence import Evidence, method_names
from xferpipe.report.licences import Licences, licences_of
from xferpipe.report.picked import Picked, picked_runs
from xferpipe.report.race_words import race_lines
from xferpipe.training.resolve import resolve


@dataclass(frozen=True)
class Card:
    """What the first screen says about one target.

    Attributes:
        answer: The answer in words.
        recipe: What the picked recipe does, in words; empty where nothing is picked.
        scores: How the scores would have done, a sentence or none.
        licences: Those that bear on the choice.
        race: What each round of its race decided; empty without a race.
    """

    answer: AnswerWords
    recipe: str
    scores: str
    licences: Licences
    race: list[str]


def cards(evidence: Evidence) -> list[Card]:
    """Return a card for each (target, shots) of table `answers`."""
    picked = {run.place: run for run in picked_runs(evidence)}
    return [
        Card(
            words,
            _recipe(evidence, picked.get(words.place)),
            _scores(evidence, *place),
            licences_of(evidence, place[0], None if words.pair is None else words.pair["model"]),
            race_lines(evidence["decisions"].filter(target=place[0], shots=place[1])),
        )
        for place, words in all_words(evidence).items()
    ]


def _scores(evidence: Evidence, target: str, shots: str) -> str:
    """Say what the scores would have led to without a single fine-tune."""
    here = (polars.col("target") == target) & (polars.col("shots") == shots)
    rows = evidence.judged("selection").filter(
        here & ~polars.col("method").is_in(NO_SCORES) & polars.col("spearman").is_not_null()
    )
    if rows.is_empty():
        return ""
    # A score that leaves models out ordered fewer: only whole ones are compared.
    whole = rows.filter(polars.col("coverage") == 1)
    if whole.is_empty():
        return "No score has a value for every model."
    top = whole.sort("spearman", descending=True, maintain_order=True).row(0, named=True)
    interval = ""
    if top["spearman_low"] is not None and top["spearman_high"] is not None:
        interval = f", interval {top['spearman_low']:.2f} to {top['spearman_high']:.2f}"
    found = rows.filter(polars.col("trials") <= 3)["score"].n_unique()
    words = (
        f"{found} of {rows['score'].n_unique()} scores have the best model among their first 3; "
        f"of {whole['score'].n_unique()} that score every model, {top['score']} orders them best "
        f"(Spearman {top['spearman']:.2f} over {top['models']} models{interval}; the best of "
        "many looks better than it is)."
    )
    choice = method_names(
        evidence["choices"].filter(here & (polars.col("recipe") == rows["recipe"][0]))
    )
    if choice.is_empty() or choice["spearman"][0] is None:
        return words
    return (
        f"{words} Chosen by the other targets alone it would have been {choice['score'][0]}, "
        f"with {choice['spearman'][0]:.2f} here."
    )


def _recipe(evidence: Evidence, picked: Picked | None) -> str:
    """Say in words what the picked recipe does, with nothing left to follow from the images."""
    job = evidence.job
    if (
        picked is None
        or picked.run["recipe"] not in job.recipes
        or picked.target not in job.targets
    ):
        return ""
    dataset = job.datasets[job.targets[picked.target].dataset]
    images = picked.run["train_images"] or 1
    recipe = resolve(job.recipes[picked.run["recipe"]], images=images, image_px=dataset.image_px)
    words = recipe_words(recipe)
    if picked.run["train_images"]:
        words += f"; an epoch is one pass over the {images:,} training images"
    return words
