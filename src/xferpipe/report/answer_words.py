"""An answer in words: the sentence, the label of how sure it is, and what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass

import polars

from xferpipe.aggregate.choice import NO_SCORES
from xferpipe.report.evidence import METRIC_WORDS, Evidence, method_names
from xferpipe.report.finetune_outcomes import Answer

_LABELS = {
    "clear": "Clear",
    "likely": "Likely",
    "open": "Too close to call",
    "single": "One run each",
    "alone": "Only one model",
    "none": "No answer yet",
}


@dataclass(frozen=True)
class AnswerWords:
    """What the first screen says about one target."""

    answer: Answer
    label: str
    figure: str
    sureness: str
    scores: str
    licences: str


def words_of(answer: Answer, evidence: Evidence) -> AnswerWords:
    """Put an answer into words."""
    return AnswerWords(
        answer,
        _LABELS[answer.sureness],
        _figure(answer),
        _sureness(answer),
        _scores(answer, evidence),
        _licences(answer, evidence),
    )


def in_one_line(answer: Answer) -> str:
    """Say an answer where there is one line for it."""
    if answer.sureness == "none":
        guess = f"; by score alone, {answer.hint}" if answer.hint else ""
        return f"{answer.place}: {_LABELS['none'].lower()}, {answer.reason}{guess}"
    return (
        f"{answer.place}: fine-tune {answer.model} with recipe {answer.recipe}: "
        f"{_figure(answer)} ({_LABELS[answer.sureness].lower()})"
    )


def _figure(answer: Answer) -> str:
    if answer.sureness == "none":
        return ""
    runs = "1 run" if answer.seeds == 1 else f"{answer.seeds} runs"
    spread = "" if answer.spread is None else f" ± {answer.spread:.3f}"
    return f"{METRIC_WORDS[answer.metric]} {answer.value:.3f}{spread} over {runs}"


def _sureness(answer: Answer) -> str:
    if answer.sureness == "none":
        return f"Nothing to compare: {answer.reason}."
    if answer.sureness == "alone":
        return "No other model has a finished fine-tune, so there was nothing to choose from."
    behind = f"the next one, {answer.runner_up}, is {abs(answer.margin):.3f} behind"
    if answer.margin < 0:
        ahead = f"{-answer.margin:.3f} ahead on test"
        behind = f"one behind it on {answer.chosen_on}, {answer.runner_up}, is {ahead}"
    if answer.probability is None:
        return f"{behind[0].upper()}{behind[1:]}. No run was repeated: add seeds."
    percent = "over 99 %" if answer.probability > 0.99 else f"{100 * answer.probability:.0f} %"
    share = f"{percent} of redraws of the seed noise"
    return f"Best of {answer.models} in {share}; {behind}."


def _scores(answer: Answer, evidence: Evidence) -> str:
    """Say what the scores would have led to without a single fine-tune."""
    if answer.sureness == "none":
        return f"By score alone, which is no evidence: {answer.hint}." if answer.hint else ""
    here = (polars.col("target") == answer.target) & (polars.col("shots") == answer.shots)
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
        f"{top['score']} orders the models best (Spearman {top['spearman']:.2f} "
        f"over {top['models']} models{interval})."
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


def _licences(answer: Answer, evidence: Evidence) -> str:
    """Name the licences that bear on the choice: the weights', their source's and the target's."""
    target = evidence["targets"].filter(polars.col("target") == answer.target)
    zoo = evidence["zoo"].filter(polars.col("model") == answer.model)
    known = {"this target's images": target["licence"]}
    if answer.model:
        sourced = zoo["source"].drop_nulls().len()
        source = {"their source's images": zoo["source_licence"]} if sourced else {}
        known = {"the weights": zoo["licence"]} | source | known
    words = [f"of {of}: {(*names.drop_nulls(), 'not stated')[0]}" for of, names in known.items()]
    return f"Licence {'; '.join(words)}."
