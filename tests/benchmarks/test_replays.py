"""Replays on tables small enough to follow by hand."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import polars
import pytest
from benchmarks.replays.measures import claims, clustered, gaps, judged, reliability
from benchmarks.replays.one_target import Effort, replayed
from benchmarks.replays.rounds import rounds
from benchmarks.replays.simulated import brute_forced
from benchmarks.replays.strategies import (
    Trace,
    brute_force,
    by_validation,
    race,
    random_order,
    static_list,
    successive_halving,
    top_by_score,
    top_two_sampling,
    trace_of,
)
from benchmarks.replays.summary import summary
from benchmarks.replays.tables import BruteForced, of_history, published

from xferpipe.config.race import Budget, Race
from xferpipe.evidence.posterior import belief, table
from xferpipe.evidence.race import LEVEL, answer, measured_pairs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def history() -> polars.DataFrame:
    return brute_forced(targets=4, models=3)


@pytest.fixture(scope="module")
def target(history) -> BruteForced:
    targets, left_out = of_history(history)
    assert not left_out
    return targets[0]


def by_hand(target: BruteForced, **changes) -> BruteForced:
    """Four pairs of two seeds; a run of pair i takes i + 1 seconds."""
    models, scores = ["a", "b", "c", "d"], [1.0, 4.0, 3.0, 2.0]
    given = {
        "pairs": polars.DataFrame({"model": models, "recipe": ["r"] * 4}),
        "validation": numpy.array([[0.5, 0.7], [0.8, 0.6], [0.7, 0.72], [0.1, 0.1]]),
        "seconds": numpy.repeat([[1.0], [2.0], [3.0], [4.0]], 2, axis=1),
        "test": numpy.array([0.6, 0.69, 0.695, 0.1]),
        "scores": polars.DataFrame(
            {"model": models, "method": ["lfc"] * 4, "variant": [""] * 4, "value": scores}
        ),
    }
    return replace(target, **given | changes)


def test_history_gives_back_the_runs_it_was_made_from(history, target):
    runs = history.filter(polars.col("kind") == "run", polars.col("target") == "earlier0")
    assert target.name == "earlier0/full"
    assert target.validation.shape == (9, 3)
    for (model, recipe), row, test in zip(
        target.pairs.rows(), target.validation, target.test, strict=True
    ):
        own = runs.filter(model=model, name=recipe).sort("seed")
        assert own["value"].to_list() == row.tolist()
        assert own["test"].mean() == pytest.approx(test)
    means = target.runs.select(polars.col("outcomes").list.mean()).to_series()
    numpy.testing.assert_allclose(means, target.runs["validation"])


def test_history_of_a_target_holds_no_target_of_its_source(history, target):
    assert target.source == "source0"
    assert set(target.history["target"]) == {"earlier2", "earlier3"}


def test_history_pairs_without_every_seed_and_targets_without_test_are_named(history):
    first = (polars.col("target") == "earlier0") & (polars.col("kind") == "run")
    gone = first & (polars.col("model") == "model0") & (polars.col("name") == "recipe1")
    shorter = history.filter(~(gone & (polars.col("seed") == 2)))
    untested = polars.col("target") == "earlier1"
    shorter = shorter.with_columns(test=polars.when(~untested).then("test"))
    targets, left_out = of_history(shorter)
    assert [len(one.pairs) for one in targets] == [8, 9, 9]
    assert left_out == [
        "simulated/earlier0/full: 1 pairs",
        "simulated/earlier1/full: no run has a test figure and its seconds",
    ]


def test_reordered_seeds_keep_each_run_whole(target):
    other = target.reordered(numpy.random.default_rng(1))
    assert not numpy.array_equal(other.validation, target.validation)
    numpy.testing.assert_array_equal(numpy.sort(other.validation), numpy.sort(target.validation))
    assert other.runs["validation"].to_list() == other.validation.ravel().tolist()
    assert other.runs["seconds"].to_list() == other.seconds.ravel().tolist()
    assert other.runs.select("model", "recipe", "seed").equals(
        target.runs.select("model", "recipe", "seed")
    )


def test_test_noise_is_that_of_the_test_images(target):
    """Angles of shares of n images have variance 1 / n; runs of a pair share part of it."""
    noise = numpy.diag(target.test_noise)
    assert (noise < 1 / 300).all()
    assert (noise > 1 / 300 / 3).all()
    assert (numpy.linalg.eigvalsh(target.test_noise) > 0).all()


def test_by_validation_takes_the_highest_mean_so_far(target):
    trace = by_validation(by_hand(target), [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1)])
    assert trace.seconds.tolist() == [1, 3, 6, 8, 11]
    # After its second run pair 1 has 0.7, as pair 2, and is first; then pair 2 has 0.71.
    assert trace.pick.tolist() == [0, 1, 1, 1, 2]
    assert [trace.at(s) for s in (0.5, 1, 2.9, 3, 11, 99)] == [None, 0, 0, 1, 2, 2]


def test_plain_strategies_run_what_they_say(target):
    hand, generator = by_hand(target), numpy.random.default_rng(0)
    assert brute_force(hand, generator).seconds.tolist() == [20]
    assert brute_force(hand, generator).pick.tolist() == [2]
    anything = random_order(hand, generator)
    assert len(anything.pick) == 8
    assert anything.seconds[-1] == 20
    assert anything.pick[-1] == 2
    # Score: models b, c, d; one seed each.
    assert top_by_score(hand, generator).seconds.tolist() == [2, 5, 9]
    assert top_by_score(replace(hand, scores=hand.scores[:2]), generator) is None
    # Halving: all four once (10 s), then b and c, the best of the first seed (0.8, 0.7).
    halved = successive_halving(hand, generator)
    assert halved.seconds[3] == 10
    assert halved.seconds[-1] == 15
    assert halved.pick[-1] == 2


def test_static_list_goes_by_mean_rank_on_other_sources(target):
    rows = [
        ("s1", "t1", {"a": 0.9, "b": 0.8, "c": 0.7}),
        ("s1", "t2", {"a": 0.9, "b": 0.8, "c": 0.7}),
        ("s2", "t3", {"a": 0.1, "b": 0.5, "c": 0.3}),
    ]
    frame = polars.DataFrame(
        [
            {"study": "s", "shots": "full", "source": source, "target": name, "model": model}
            | {"kind": "run", "name": "r", "seed": 0, "value": value}
            for source, name, values in rows
            for model, value in values.items()
        ]
    )
    # Ranks: a 1 and 3, b 2 and 1, c 3 and 2; d is unknown. The source with two targets counts once.
    trace = static_list(by_hand(target, history=frame), numpy.random.default_rng(0))
    assert numpy.diff(trace.seconds, prepend=0).tolist() == [2, 1, 3, 4] * 2


def test_judged_reads_costs_and_regrets_off_a_trace(target):
    hand = by_hand(target)
    trace = Trace(numpy.array([1.0, 4.0, 8.0, 10.0]), numpy.array([1, 0, 2, 1]))
    found = judged(trace, hand, "best")
    assert found["within"] == 1 / 20
    assert found["within_for_good"] == 8 / 20
    assert found["cost"] == 0.5
    assert found["regret_10%"] == pytest.approx(0.695 - 0.69)
    assert found["regret_25%"] == pytest.approx(0.695 - 0.6)
    assert found["regret_50%"] == found["regret_100%"] == pytest.approx(0.695 - 0.69)
    late = judged(Trace(numpy.array([15.0]), numpy.array([3])), hand, "best")
    assert late["within"] == late["within_for_good"] == math.inf
    assert late["regret_10%"] == pytest.approx(0.695 - hand.test.mean())


def test_gaps_may_be_below_nothing_against_the_pick_of_brute_force(target):
    hand = by_hand(target, test=numpy.array([0.6, 0.75, 0.7, 0.1]))
    assert gaps(hand, "best").min() == 0
    assert gaps(hand, "brute_force")[1] == pytest.approx(-0.05)


def test_clustered_interval_is_that_of_cluster_means_where_clusters_are_alike():
    """With clusters of one size it is Student's interval of the cluster means."""
    values = numpy.array([1.0, 2.0, 4.0, 6.0, 3.0, 5.0])
    found = clustered(values, list("aabbcc"))
    means = numpy.array([1.5, 5.0, 4.0])
    reach = 4.302653 * means.std(ddof=1) / math.sqrt(3)
    assert found["mean"] == pytest.approx(3.5)
    assert found["high"] - found["mean"] == pytest.approx(reach, rel=1e-6)
    assert clustered([1.0, 2.0], ["a", "a"])["low"] is None
    assert clustered([1.0, 1.0, 1.0], ["a", "b", "c"])["low"] is None
    assert clustered([], []) is None


def test_clustered_interval_covers_as_stated():
    generator = numpy.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        values = generator.normal(size=8)[:, None] + 0.3 * generator.normal(size=(8, 3))
        found = clustered(values.ravel(), numpy.repeat(numpy.arange(8), 3))
        covered += found["low"] <= 0 <= found["high"]
    assert 0.93 < covered / 1000 < 0.97


def test_reliability_counts_what_came_true_in_each_bin():
    low, high = reliability([0.2, 0.1, 0.92, 0.94, 0.91], [0, 1, 1, 1, 0], list("abcde"))
    assert (low["from"], low["answers"], low["stated"]) == (0.0, 2, pytest.approx(0.15))
    assert low["came_true"]["mean"] == 0.5
    assert (high["from"], high["answers"]) == (0.9, 3)
    assert high["came_true"]["mean"] == pytest.approx(2 / 3)


def test_race_pick_is_that_of_its_answer_and_ends_by_itself(target):
    played = race(target, slots=2)
    assert played[-1].decided["stopped"][0] is not None
    assert played[0].pick is None
    trace = trace_of(played)
    assert (numpy.diff(trace.seconds) > 0).all()
    last = played[-1]
    assert trace.seconds[-1] == pytest.approx(last.seen["seconds"].sum())
    known = last.decided.with_columns(probability_near_best=polars.lit(0.5))
    assert last.pick == answer(known, measured_pairs(known, last.seen), 0.9).pick


def test_rounds_ask_each_run_once(target):
    seen = race(target)[-1].seen
    assert not seen.select("model", "recipe", "seed").is_duplicated().any()
    rules = Race(budget=Budget(runs=99), seeds=9)
    fewer = target.runs.filter(polars.col("seed") < 1)
    empty = polars.DataFrame()
    endless = rounds(rules, target.pairs, fewer, empty, empty, empty, slots=9, seed=0)
    with pytest.raises(KeyError):
        list(endless)


def test_top_two_sampling_stays_within_the_seeds(target):
    trace = top_two_sampling(target, numpy.random.default_rng(0))
    assert trace.seconds[-1] <= target.cost * (1 + 1e-9)
    assert (numpy.diff(trace.seconds) > 0).all()


def test_claims_of_test_figures_are_wider_than_those_of_pairs(target):
    held = belief(target.runs, target.scores, target.zoo, [], target.pairs, seed=0)
    found = claims(held, target, 0, target.runs, 0)
    assert found["foretold_covered_all"] >= found["covered_all"]
    assert found["is_best"] == float(target.test.argmax() == 0)
    sure = held._replace(draws=numpy.tile(target.test, (500, 1)))
    exact = claims(sure, target, int(target.test.argmax()), target.runs, 0)
    assert exact["probability_best"] == exact["is_best"] == exact["covered_all"] == 1
    # The test images may put another first, though the belief has no doubt.
    assert exact["foretold_best"] < 1
    assert table(sure, target.runs, indifference=0.01, level=LEVEL)["high"].max() < 1


def test_summary_puts_targets_together(history):
    targets, _ = of_history(history)
    found = [replayed(one, Effort(orders=2, races=1), seed=0) for one in (targets[0], targets[2])]
    whole = summary(found)
    assert whole["targets"] == whole["sources"] == 2
    # Everything that runs all of it ends with the pick of brute force.
    end = [whole["strategies"][name] for name in ("brute force", "random order", "static list")]
    for both in end:
        assert both["brute_force"]["regret_100%"]["mean"] == pytest.approx(0, abs=1e-12)
        assert both["best"]["cost"]["mean"] == pytest.approx(1)
    assert whole["strategies"]["brute force"]["brute_force"]["within"] == [pytest.approx(1)] * 3
    assert whole["race_less_top_3_by_score"]["race"]["low"] is not None
    assert whole["claims"]["end"]["answers"] == 2
    json.dumps(whole)


def test_published_tables_cost_parameters_and_leave_the_target_out():
    tables = published()
    assert {name: len(targets) for name, targets in tables.items()} == {
        "sfda_supervised": 11,
        "sfda_self_supervised": 11,
        "tllib": 8,
    }
    one = tables["tllib"][0]
    assert one.source not in set(one.history["target"])
    assert one.history["target"].n_unique() == 7
    assert one.cost == pytest.approx(one.zoo["parameters"].sum() / 1e6)
    # Truth is the published figure; what was measured differs by the assumed noise.
    error = (one.validation[:, 0] - one.test) / numpy.sqrt(one.test * (1 - one.test) / 1000)
    assert 0 < numpy.abs(error).max() < 5
    assert tables["sfda_self_supervised"][0].cost == 12
    assert top_by_score(one, numpy.random.default_rng(0)) is not None
    assert top_by_score(tables["sfda_supervised"][0], numpy.random.default_rng(0)) is None


def test_options_of_a_program_follow_its_name():
    command = [sys.executable, "-m", "benchmarks", "replay", "--jsonn"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "unrecognized arguments: --jsonn" in done.stderr
