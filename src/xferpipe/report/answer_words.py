"""An answer in words, from the rows of table `answers` of one target and shots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars

from xferpipe.report.evidence import METRIC_WORDS, Evidence

#: Pairs of a group that are named; of more, the number is told.
SHOWN = 5


@dataclass(frozen=True)
class AnswerWords:
    """What is said about one target.

    Attributes:
        place: Target, with its shots.
        kind: What sort of answer it is: best, group, near, open, alone, history or nothing.
        label: The same in a few words.
        pair: The row of the model and recipe in question; None where there is none.
        verdict: What the pair is, before its name: `Fine-tune` or `Leads so far:`.
        figure: Its figure with an interval.
        facts: What bears on it: a few words that say of what, and a sentence.
    """

    place: str
    kind: str
    label: str
    pair: dict[str, Any] | None = None
    verdict: str = ""
    figure: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The sentences alone."""
        return [sentence for _, sentence in self.facts]

    @property
    def in_one_line(self) -> str:
        """The answer where there is one line for it."""
        if self.pair is None:
            return f"{self.place}: {self.label[0].lower()}{self.label[1:]}. {self.lines[0]}"
        start = f"{self.verdict[0].lower()}{self.verdict[1:]} {pair_name(self.pair)}"
        return f"{self.place}: {start}: {self.figure}. {self.label}"


def all_words(evidence: Evidence) -> dict[tuple[str, str], AnswerWords]:
    """Put the answer for each (target, shots) of table `answers` into words, in its order."""
    found = {}
    for (target, shots), rows in evidence["answers"].group_by(
        "target", "shots", maintain_order=True
    ):
        runs = evidence["finetunes"].filter(target=target, shots=shots)
        found[target, shots] = words_of(evidence.label(target, shots), rows, runs)
    return found


def words_of(place: str, rows: polars.DataFrame, finetunes: polars.DataFrame) -> AnswerWords:
    """Put an answer into words.

    Args:
        place: Target, with its shots, as it is called on the page.
        rows: Rows of table `answers` of one target and shots, at least one.
        finetunes: Rows of table `finetunes` of the same target and shots.
    """
    first = rows.row(0, named=True)
    if first["basis"] == "nothing":
        return AnswerWords(place, "nothing", "Nothing is known", facts=_nothing(rows))
    if first["basis"] == "history":
        return AnswerWords(place, "history", "Not run yet", facts=_by_history(rows))
    if not rows["pick"].any():
        facts = _all_diverged(rows, finetunes.height)
        return AnswerWords(place, "nothing", "No answer yet", facts=facts)
    pair = rows.row(by_predicate=polars.col("pick"), named=True)
    kind, label = _label(rows, pair)
    return AnswerWords(
        place,
        kind,
        label,
        pair,
        "Leads so far:" if kind == "open" else "Fine-tune",
        _figure(pair),
        [*_gains(pair), *_group(rows, pair, kind), *_images(pair), *_next(rows)],
    )


def pair_name(row: dict[str, Any]) -> str:
    """Name a model and its recipe."""
    return row["model"] if row["recipe"] is None else f"{row['model']} with recipe {row['recipe']}"


def probability(value: float) -> str:
    """Write a probability; it stands on some thousand draws, so no more than two digits."""
    return "over 0.99" if value > 0.995 else "below 0.01" if value < 0.005 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Write a time: `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _label(rows: polars.DataFrame, pair: dict[str, Any]) -> tuple[str, str]:
    group = rows["top"].sum()
    if rows["compared"].sum() == 1:
        return "alone", "Only one was run"
    if pair["named"]:
        return "best", f"Best (probability {probability(pair['probability_best'])})"
    if pair["settled"] and group > 1:
        return "group", f"One of {group}, no difference that matters"
    if pair["settled"]:
        near = probability(pair["probability_near_best"])
        return "near", f"Within {pair['indifference']:g} of the best (probability {near})"
    return "open", f"Open: {group} may be the best"


def _figure(pair: dict[str, Any]) -> str:
    """Give the test figure; where that was chosen on, what to expect of other images."""
    words = METRIC_WORDS[pair["metric"]]
    runs = "1 run" if pair["runs"] == 1 else f"{pair['runs']} runs"
    if pair["chosen_on"] == "test" or pair["test"] is None:
        names, words = ("mean", "low", "high"), f"expected {words}"
    else:
        names = ("test", "test_low", "test_high")
    value, low, high = (pair[name] for name in names)
    return f"{words} {value:.3f} ({low:.3f} to {high:.3f}) over {runs}"


def _group(rows: polars.DataFrame, pair: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    """Tell the top group and its cheapest member."""
    compared = rows.filter("compared")
    if kind == "alone":
        return [
            ("Others", "No other model or recipe was run, so there was nothing to choose from.")
        ]
    group = compared.filter("top").sort("probability_best", descending=True, maintain_order=True)
    margin = f"{pair['indifference']:g}"
    if group.height == 1:
        words = (
            f"Of {compared.height} that were compared, no other is within {margin} of the best "
            f"with a probability above {1 - pair['confidence']:.2g}."
        )
        return [("Others", words)]
    members = [
        f"{pair_name(row)} ({probability(row['probability_best'])})"
        for row in group.head(SHOWN).iter_rows(named=True)
    ]
    more = f", and {group.height - SHOWN} more" if group.height > SHOWN else ""
    words = (
        f"{group.height} of {compared.height} may be the best or within {margin} of it "
        f"(probability of being the best): {', '.join(members)}{more}."
    )
    found = [("Top group", words)]
    cheapest = group.filter("cheapest")
    if cheapest.height:
        row = cheapest.row(0, named=True)
        words = f"The cheapest of them is {pair_name(row)}: about {duration(row['cost'])} a run."
        found.append(("Cheapest", words))
    return found


def _gains(pair: dict[str, Any]) -> list[tuple[str, str]]:
    """Tell the gain over random initialisation and over the reference."""
    if pair["gain_random"] == pair["gain_random_low"] == pair["gain_random_high"] == 0:
        words = "It starts from random weights: nothing that was pretrained has proved better."
        return [("Gain", words)]
    base = pair["reference"]
    base = "the median of those compared" if base == "median" else base
    found = [
        f"{pair[name]:+.3f} ({pair[f'{name}_low']:+.3f} to {pair[f'{name}_high']:+.3f}) over {over}"
        for name, over in (("gain_random", "random initialisation"), ("gain_reference", base))
        # Without width it is the gain over itself.
        if pair[name] is not None and pair[f"{name}_low"] < pair[f"{name}_high"]
    ]
    return [("Gain", f"Expected gain: {'; '.join(found)}.")] if found else []


def _images(pair: dict[str, Any]) -> list[tuple[str, str]]:
    """Tell on how many images and runs the choice and the figure stand."""
    kind = "queries" if pair["metric"] == "map" else "images"
    chosen, shown = (_count(pair[name], kind) for name in ("images", "test_images"))
    seeds = "1 run" if pair["runs"] == 1 else f"{pair['runs']} runs, a seed each"
    if pair["chosen_on"] == "test":
        words = (
            f"{seeds}; chosen on {chosen} of the test split, as nothing was held out: the figure "
            "is what to expect of others."
        )
    else:
        level = f"{100 * pair['level']:g} % intervals hold the noise of seeds and of images"
        words = f"{seeds}; chosen on {chosen} of validation, reported on {shown} of test; {level}."
    return [("Stands on", words[0].upper() + words[1:])]


def _count(images: int | None, kind: str) -> str:
    return f"an unknown number of {kind}" if images is None else f"{images} {kind}"


def _next(rows: polars.DataFrame) -> list[tuple[str, str]]:
    """Tell what one more run would buy."""
    chosen = rows.filter("next")
    if chosen.is_empty():
        words = "No single further run is expected to raise the best"
        words += "; more images to choose on may." if rows["compared"].sum() > 1 else "."
        return [("One more run", words)]
    row = chosen.row(0, named=True)
    gain = f"{row['next_gain']:.4f}" if row["next_gain"] >= 5e-5 else "less than 0.0001"
    time = "" if row["cost"] is None else f", in about {duration(row['cost'])}"
    tried = "" if row["runs"] else " (not run yet)"
    words = (
        f"One more run is worth most for {pair_name(row)}{tried}: it is expected to raise the best "
        f"by {gain}{time}."
    )
    return [("One more run", words)]


def _nothing(rows: polars.DataFrame) -> list[tuple[str, str]]:
    words = (
        "Nothing was fine-tuned on it, and no earlier target says what its scores are worth: "
        f"{rows['model'].n_unique()} models stand in no order."
    )
    return [("Known", words)]


def _by_history(rows: polars.DataFrame) -> list[tuple[str, str]]:
    first = [
        f"{pair_name(row)} ({probability(row['probability_best'])})"
        for row in rows.head(SHOWN).iter_rows(named=True)
    ]
    words = (
        "Nothing was fine-tuned on it. By scores and earlier targets alone, first come "
        f"(probability of being the best): {', '.join(first)}."
    )
    return [("Known", words), *_next(rows)]


def _all_diverged(rows: polars.DataFrame, diverged: int) -> list[tuple[str, str]]:
    words = f"Every fine-tune diverged ({diverged} of {diverged}): try a lower learning rate."
    return [("Runs", words), *_next(rows)]
