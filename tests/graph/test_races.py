"""Walking the rounds of races: only what carries the key of its place counts."""

from __future__ import annotations

import copy

import polars
import pytest
from tests.graph.rounds import PLACE, Written

from xferpipe.graph.graph import all_jobs
from xferpipe.graph.race_costs import race_states
from xferpipe.graph.races import open_rounds
from xferpipe.graph.snapshot import PlannedKeys, write_snapshot


@pytest.fixture
def study(tiny_study):
    tiny_study["finetunes"] = [
        {"targets": ["digits"], "models": ["trained"], "recipes": ["head"], "seeds": [7]}
    ]
    tiny_study["choose"] = [{"targets": ["digits"], "budget": {"runs": 4}}]
    return tiny_study


@pytest.fixture
def written(study, tmp_path):
    return Written(study, tmp_path)


def test_rounds_are_followed_one_by_one_to_the_end(written):
    assert open_rounds(written.study) == {PLACE: 0}
    for path in written.race():
        assert path.exists()
    assert open_rounds(written.study) == {}
    assert written.study.decided(*PLACE).stopped == "spent"
    assert written.runs() == [
        ("drawn", "sgd", "0"),
        ("drawn", "head", "0"),
        ("trained", "sgd", "0"),
    ]
    assert [job for job in all_jobs(written.study) if job[0] == "choose"] == [
        ("choose", *PLACE, str(number)) for number in range(3)
    ]


def test_walk_from_nothing_finds_what_was_followed_on_the_way(study, written, tmp_path):
    written.race()
    other = Written(study, tmp_path)
    other.races.follow()
    assert other.study.decided(*PLACE) == written.study.decided(*PLACE)
    assert {job: other.keys(*job).key for job in all_jobs(other.study)} == {
        job: written.keys(*job).key for job in all_jobs(written.study)
    }


def test_key_of_what_lies_below_follows_the_rounds(written):
    seen = [written.keys("report").key]
    for number in range(2):
        written.write(number, ("drawn", "sgd", number))
        assert ("report",) in written.races.follow()
        seen.append(written.keys("report").key)
    assert len(set(seen)) == 3
    assert written.races.follow() == set()
    assert written.keys("report").key == seen[-1]


def test_rounds_after_the_last_one_are_not_read(written):
    files = written.race()
    written.write(3, ("drawn", "sgd", 2))
    assert written.races.follow() == set()
    files[2].unlink()
    written.races.follow()
    assert open_rounds(written.study) == {PLACE: 2}


@pytest.mark.parametrize("edit", ["rewritten", "cut", "deleted", "of another key"])
def test_walk_ends_before_a_round_that_is_not_as_its_job_wrote_it(written, edit):
    files = written.race()
    if edit == "rewritten":
        polars.read_parquet(files[1]).write_parquet(files[1])
    elif edit == "cut":
        files[1].write_bytes(files[1].read_bytes()[:-9])
    elif edit == "deleted":
        files[1].unlink()
    else:
        files[1].write_bytes(files[0].read_bytes())
    changed = written.races.follow()
    assert ("choose", *PLACE, "2") in changed
    assert open_rounds(written.study) == {PLACE: 1}
    assert written.runs() == [("drawn", "sgd", "0"), ("drawn", "head", "0")]


def test_another_decision_of_an_early_round_drops_the_later_ones(written):
    written.race()
    written.write(0, ("drawn", "sgd", 0))
    written.races.follow()
    assert open_rounds(written.study) == {PLACE: 1}
    assert written.runs() == [("drawn", "sgd", "0")]


def test_same_decision_of_an_early_round_keeps_the_later_ones(written):
    written.race()
    before = written.study.decided(*PLACE)
    written.write(0, ("drawn", "sgd", 0), ("drawn", "head", 0))
    assert written.races.follow() == set()
    assert written.study.decided(*PLACE) == before


@pytest.mark.parametrize(
    ("change", "followed"),
    [
        ({"keep": "winner"}, True),
        ({"batch": 3}, False),
        ({"models": ["drawn"]}, False),
        ({"budget": {"runs": 5}}, False),
    ],
)
def test_rounds_of_another_race_do_not_count(study, written, tmp_path, change, followed):
    written.race()
    study["choose"][0] |= change
    other = Written(study, tmp_path)
    other.races.follow()
    assert bool(other.study.decided(*PLACE).rounds) is followed


def test_what_is_no_candidate_leaves_the_rounds_alone(study, written, tmp_path):
    study["choose"][0] |= {"models": ["trained", "drawn"], "recipes": ["sgd", "head"]}
    written.load(study)
    written.race()
    study["zoo"]["third"] = dict(study["zoo"]["drawn"], width=6)
    study["finetuning_recipes"]["other"] = {"epochs": 1}
    study["finetunes"] += [{"models": ["third"], "recipes": ["sgd"], "targets": ["digits"]}]
    study["finetunes"] += [{"models": ["drawn"], "recipes": ["other"], "targets": ["digits"]}]
    other = Written(study, tmp_path)
    other.races.follow()
    assert other.study.decided(*PLACE) == written.study.decided(*PLACE)


def test_plan_on_disk_knows_the_rounds_and_keys_of_when_it_was_written(written, tmp_path):
    written.race()
    jobs = list(all_jobs(written.study))
    plan = PlannedKeys(write_snapshot(written.keys, jobs, tmp_path))
    assert plan.study.decided(*PLACE) == written.study.decided(*PLACE)
    assert set(all_jobs(plan.study)) == set(jobs)
    assert plan("aggregate").key == written.keys("aggregate").key


def test_plans_of_this_run_are_kept_however_many_rounds_it_has(study, written, tmp_path):
    own = []
    for number in range(25):
        study["selection"]["confidence"] = 0.5 + number / 100
        written.load(copy.deepcopy(study))
        jobs = [("load_weights", "drawn")]
        own.append(write_snapshot(written.keys, jobs, tmp_path, own))
    assert all(path.exists() for path in own)
    study["selection"]["confidence"] = 0.99
    written.load(study)
    write_snapshot(written.keys, jobs, tmp_path)
    assert sum(path.exists() for path in own) == 19


def test_most_that_a_race_costs_follows_budget_seeds_and_what_is_known(study, written, tmp_path):
    (state,) = race_states(written.study, tmp_path, None)
    # The grid has one run of a candidate.
    assert state[2:] == (0, None, 1, 3, None)
    written.write(0, ("drawn", "sgd", 0), ("drawn", "head", 0))
    written.races.follow()
    (state,) = race_states(written.study, tmp_path, 1800.0)
    assert state[2:] == (1, None, 3, 1, 0.5)
    study["choose"][0] |= {"budget": {"runs": 99}, "seeds": 2}
    written.load(study)
    (state,) = race_states(written.study, tmp_path, 1800.0)
    assert state[2:] == (0, None, 1, 7, 3.5)
    written.write(0, stopped="spent")
    written.races.follow()
    (state,) = race_states(written.study, tmp_path, 1800.0)
    assert state[2:] == (0, "spent", 1, 0, 0.0)


def test_hours_that_are_left_are_those_of_the_budget_and_of_one_round(study, written, tmp_path):
    study["choose"][0]["budget"] = {"hours": 3}
    written.load(study)
    (state,) = race_states(written.study, tmp_path, None)
    assert (state.more_runs, state.more_hours) == (11, 3.0)
    written.write(0, ("drawn", "sgd", 0))
    written.races.follow()
    # Four rows say 0.5 h each, and two runs of a round take 0.5 h each.
    (state,) = race_states(written.study, tmp_path, 1800.0)
    assert (state.more_runs, state.more_hours) == (10, 2.0)
