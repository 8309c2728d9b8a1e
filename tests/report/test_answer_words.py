"""The page, the console and `recommend` say the same of one table, and no more than it holds."""

from __future__ import annotations

import html
import json
import re

import polars
import pytest
from typer.testing import CliRunner

from xferpipe.cli import application
from xferpipe.records import empty, frame, load_table, result_files
from xferpipe.report.answer_words import all_words, duration, probability, words_of
from xferpipe.report.evidence import load
from xferpipe.report.race_words import race_lines
from xferpipe.stages.report import report

RULES = {"basis": "runs", "metric": "accuracy", "chosen_on": "validation", "compared": True}
RULES |= {"confidence": 0.9, "indifference": 0.01, "level": 0.95, "reference": "median"}


def answered(*pairs: dict, **about) -> polars.DataFrame:
    """Return rows of table `answers`; of each pair what is not the same for all."""
    flags = dict.fromkeys(("top", "pick", "named", "settled", "cheapest", "next"), False)
    figures = {"mean": 0.8, "low": 0.7, "high": 0.9, "test": 0.75, "test_low": 0.66}
    figures |= {"test_high": 0.82, "probability_best": 0.5, "probability_near_best": 0.6}
    base = {"target": "t", "shots": "full", "recipe": "r", "runs": 2, "cost": 12.0, "images": 179}
    base |= {"test_images": 100, "next_gain": 0.0} | RULES | flags | figures | about
    return frame("answers", [base | pair for pair in pairs])


def said(rows: polars.DataFrame):
    return words_of("t", rows, empty("finetunes"))


def test_a_name_has_its_probability_and_its_figure_the_interval():
    first = {"model": "a", "top": True, "pick": True, "named": True, "settled": True}
    words = said(answered(first | {"probability_best": 0.94}, {"model": "b"}))
    assert (words.kind, words.label) == ("best", "Best (probability 0.94)")
    assert words.in_one_line == (
        "t: fine-tune a with recipe r: test accuracy 0.750 (0.660 to 0.820) over 2 runs. "
        "Best (probability 0.94)"
    )
    assert "179 images of validation, reported on 100 images of test" in " ".join(words.lines)


def test_a_group_without_a_difference_tells_its_cheapest_and_names_none():
    first = {"model": "a", "top": True, "pick": True, "settled": True}
    words = said(answered(first, {"model": "b", "top": True, "cheapest": True}, {"model": "c"}))
    assert words.label == "One of 2, no difference that matters"
    facts = dict(words.facts)
    assert "2 of 3 may be the best" in facts["Top group"]
    assert facts["Cheapest"] == "The cheapest of them is b with recipe r: about 12 s a run."


def test_a_pair_that_is_near_the_best_alone_is_called_so():
    first = {"model": "a", "top": True, "pick": True, "settled": True}
    words = said(answered(first | {"probability_near_best": 0.93}, {"model": "b"}))
    assert words.label == "Within 0.01 of the best (probability 0.93)"


def test_an_open_answer_leads_and_says_what_another_run_buys():
    rival = {"model": "b", "top": True, "next": True, "next_gain": 0.004, "runs": 0}
    words = said(answered({"model": "a", "top": True, "pick": True}, rival))
    assert words.label == "Open: 2 may be the best"
    assert words.verdict == "Leads so far:"
    expected = (
        "b with recipe r (not run yet): it is expected to raise the best by 0.0040, in about 12 s"
    )
    assert expected in words.lines[-1]


def test_a_choice_on_test_shows_what_to_expect_and_says_so():
    row = {"model": "a", "top": True, "pick": True, "chosen_on": "test", "images": None}
    words = said(answered(row, {"model": "b"}))
    assert words.figure == "expected test accuracy 0.800 (0.700 to 0.900) over 2 runs"
    assert any("chosen on an unknown number of images of the test split" in s for s in words.lines)


def test_gains_are_told_with_their_intervals_and_random_weights_are_called_so():
    gains = {"gain_random": 0.2, "gain_random_low": 0.1, "gain_random_high": 0.3}
    gains |= {"gain_reference": 0.0, "gain_reference_low": -0.01, "gain_reference_high": 0.02}
    row = {"model": "a", "top": True, "pick": True}
    assert (
        "Expected gain: +0.200 (+0.100 to +0.300) over random initialisation; +0.000 (-0.010 to "
        "+0.020) over the median of those compared."
    ) in said(answered(row | gains, {"model": "b"})).lines
    itself = dict.fromkeys(("gain_random", "gain_random_low", "gain_random_high"), 0.0)
    lines = said(answered(row | itself, {"model": "b"})).lines
    assert any(line.startswith("It starts from random weights") for line in lines)
    reference = dict.fromkeys(("gain_reference", "gain_reference_low", "gain_reference_high"), 0.0)
    lines = said(answered(row | gains | reference, {"model": "b"})).lines
    assert "Expected gain: +0.200 (+0.100 to +0.300) over random initialisation." in lines


def test_nothing_known_gives_no_order():
    words = said(answered({"model": "a"}, {"model": "b"}, basis="nothing"))
    assert words.pair is None
    assert "2 models stand in no order" in words.in_one_line


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.9999, "over 0.99"), (1.0, "over 0.99"), (0.951, "0.95"), (0, "below 0.01")],
)
def test_probabilities_claim_no_more_than_the_draws_hold(value, words):
    assert probability(value) == words


def test_durations_have_the_unit_of_their_size():
    assert [duration(s) for s in (0.2, 12, 180, 9000)] == ["1 s", "12 s", "3 min", "2.5 h"]


def test_races_are_told_round_by_round():
    place = {"target": "t", "shots": "full", "model": "a", "recipe": "r", "first_seed": 0}
    rows = [
        place | {"round": 0, "chosen": 2},
        place | {"round": 1, "chosen": 0, "stopped": "the budget of 2 runs is spent"},
    ]
    assert race_lines(frame("decisions", rows)) == [
        "Round 0: next a with r, seed 0; a with r, seed 1.",
        "Round 1: the race ends, the budget of 2 runs is spent.",
    ]


def test_report_and_recommend_and_console_agree(job, study_tables, tmp_path):
    small = {"models": ("digits_low_resnet14", "letters_resnet8", "random_resnet8")}
    small |= {"targets": ("vehicles", "digits_high"), "recipes": ("gentle",)}
    tables = study_tables(**small).write(tmp_path / "fixture" / "tables")
    report(job, tables=result_files(tables), targets={}, page=tmp_path / "report.html")
    page = html.unescape((tmp_path / "report.html").read_text())
    articles = re.findall(r'<article class="answer.*?</article>', page, flags=re.S)
    words = all_words(load(job, result_files(tables)))
    stored = load_table("answers", tables)
    assert len(words) == len(articles) == 2
    for ((target, shots), spoken), article in zip(words.items(), articles, strict=True):
        command = ["recommend", target, "--shots", shots, "--results", str(tables)]
        found = json.loads(CliRunner().invoke(application(), [*command, "--json"]).stdout)
        (pick,) = stored.filter("pick", target=target, shots=shots).rows(named=True)
        assert found["pick"] == {"model": pick["model"], "recipe": pick["recipe"]}
        assert (found["label"], found["says"]) == (spoken.label, spoken.lines)
        assert f"<strong>{pick['model']}</strong>" in article
        for text in (found["label"], spoken.figure, *found["says"]):
            assert text in article
        assert spoken.in_one_line in CliRunner().invoke(application(), command).stdout
