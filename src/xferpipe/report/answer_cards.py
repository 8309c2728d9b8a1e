"""The cards at the head of the page: an answer each, and what bears on it."""

from __future__ import annotations

from dataclasses import dataclass

import polars

from xferpipe.aggregate.choice import NO_SCORES
from xferpipe.report.answer_words import AnswerWords, all_words
from xferpipe.report.evidence import Evidence, method_names
from xferpipe.report.race_words import race_lines


@dataclass(frozen=True)
class Card:
    """What the first screen says about one target.

    Attributes:
        answer: The answer in words.
        scores: How the scores would have done, a sentence or none.
        licences: Those that bear on the choice, a sentence.
        race: What each round of its race decided; empty without a race.
    """

    answer: AnswerWords
    scores: str
    licences: str
    race: list[str]


def cards(evidence: Evidence) -> list[Card]:
    """Return a card for each (target, shots) of table `answers`."""
    return [
        Card(
            words,
            _scores(evidence, *place),
            _licences(evidence, place[0], words),
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


def _licences(evidence: Evidence, target: str, words: AnswerWords) -> str:
    """Name the licences that bear on the choice: the weights', their source's and the target's."""
    images = evidence["targets"].filter(polars.col("target") == target)["licence"]
    known = {"this target's images": images}
    if words.pair is not None:
        zoo = evidence["zoo"].filter(polars.col("model") == words.pair["model"])
        sourced = zoo["source"].drop_nulls().len()
        source = {"their source's images": zoo["source_licence"]} if sourced else {}
        known = {"the weights": zoo["licence"]} | source | known
    parts = [f"of {of}: {(*names.drop_nulls(), 'not stated')[0]}" for of, names in known.items()]
    return f"Licence {'; '.join(parts)}."
