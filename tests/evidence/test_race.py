"""The decision of a round: its form, its budget, and that every race comes to an end."""

import itertools

import polars
from hypothesis import given
from hypothesis import strategies as st
from simulated import Score, Setting, generate

from xferpipe.config.race import Race
from xferpipe.evidence.race import COLUMNS, decide

RUNS = {
    "model": polars.String,
    "recipe": polars.String,
    "seed": polars.Int64,
    "status": polars.String,
    "validation": polars.Float64,
    "images": polars.Int64,
    "outcomes": polars.List(polars.Float64),
    "seconds": polars.Float64,
}


def race(**options):
    return Race(models=("a", "b"), recipes=("r", "s"), **{"budget": {"runs": 9}, **options})


def runs_of(*rows):
    named = [dict(zip(("model", "recipe", "seed", "validation"), row, strict=True)) for row in rows]
    more = {"status": "finished", "images": None, "outcomes": None, "seconds": 600.0}
    return polars.DataFrame([row | more for row in named], schema=RUNS)


def decided(options, runs, slots=2, seed=0):
    candidates = polars.DataFrame(options.candidates(), schema=["model", "recipe"], orient="row")
    none = polars.DataFrame()
    return decide(options, candidates, runs, none, none, none, slots=slots, seed=seed)


def test_decision_has_a_row_for_each_candidate_in_their_order():
    found = decided(race(), runs_of(("b", "s", 0, 0.5)))
    assert dict(found.schema) == COLUMNS
    assert found.select("model", "recipe").rows() == race().candidates()
    assert found["runs"].to_list() == [0, 0, 0, 1]
    assert found["seconds"].to_list() == [0, 0, 0, 600]


def test_run_that_diverged_costs_budget():
    spent = runs_of(("a", "r", 0, None), ("a", "s", 0, 0.5))
    assert decided(race(budget={"runs": 2}), spent)["stopped"][0] == "the budget of 2 runs is spent"
    hours = race(budget={"hours": 1 / 3})
    assert decided(hours, spent)["stopped"][0] == "the budget of 0.333333 h is spent"
    assert decided(race(budget={"hours": 0.34}), spent)["stopped"][0] is None


def test_race_takes_and_names_no_pair_whose_runs_diverged():
    spent = runs_of(*((m, r, 0, None) for m in "ab" for r in "rs"))
    options = race(confidence=0.01, budget={"runs": 4})
    spent = spent.with_columns(status=polars.lit("diverged"))
    found = decided(options, spent)
    assert not found["named"].any()
    # Even so little confidence settles nothing.
    assert found["stopped"][0] == "the budget of 4 runs is spent"
    first = runs_of(("a", "r", 0, 0.02))
    assert decided(options, polars.concat([first, spent[1:]])).filter("named")[
        "model"
    ].to_list() == ["a"]


def test_last_round_asks_for_no_more_than_the_budget_leaves():
    assert decided(race(budget={"runs": 1}), runs_of(), slots=3)["chosen"].sum() == 1


@given(
    seeds=st.integers(1, 3),
    slots=st.integers(1, 5),
    budget=st.integers(1, 15),
    grid=st.sets(st.tuples(st.sampled_from("ab"), st.sampled_from("rs"), st.integers(0, 4))),
)
def test_every_race_ends_within_its_budget_and_asks_for_no_run_twice(seeds, slots, budget, grid):
    options = race(seeds=seeds, budget={"runs": budget})
    runs = [(*run, 0.5) for run in sorted(grid)]
    for number in itertools.count():
        assert number <= 12
        found = decided(options, runs_of(*runs), slots, number)
        assert found.equals(decided(options, runs_of(*runs), slots, number))
        if found["stopped"][0] is not None:
            assert found["chosen"].sum() == 0
            break
        new = [
            (row["model"], row["recipe"], row["first_seed"] + i, 0.5)
            for row in found.iter_rows(named=True)
            for i in range(row["chosen"])
        ]
        assert 1 <= len(new) <= slots
        assert all(seed < seeds for _, _, seed, _ in new)
        assert not {run[:3] for run in new} & {run[:3] for run in runs}
        runs += new
    assert len(runs) <= max(budget, len(grid))
    if len(runs) < budget:
        assert found["runs"].min() >= min(seeds, 1)


def simulated_race(study, options, seed):
    """Run a race on a simulated study; return the decision that ended it, and the runs."""
    candidates = study.truth.select("model", "recipe")
    none = polars.DataFrame()
    runs = study.runs.clear()
    while True:
        found = decide(
            options, candidates, runs, study.scores, none, none, slots=2, seed=seed + runs.height
        )
        if found["stopped"][0] is not None:
            return found, runs
        asked = found.filter(polars.col("chosen") > 0).select(
            "model",
            "recipe",
            seed=polars.int_ranges("first_seed", polars.col("first_seed") + polars.col("chosen")),
        )
        new = study.runs.join(asked.explode("seed"), on=["model", "recipe", "seed"], how="semi")
        runs = polars.concat([runs, new])


def test_races_name_nothing_where_models_are_equal_and_the_right_one_where_one_is_best():
    equal = Setting(models=6, seeds=3, model_spread=0.0, scores=(Score(correlation=0),))
    clear = Setting(models=6, seeds=3, effects=(0.1, 0, 0, 0, 0, 0), validation_images=400)
    options = Race(budget={"runs": 14}, indifference=0.005)
    named, right = [], []
    for i, study in enumerate(generate(equal, 25, 3)):
        found, _ = simulated_race(study, options, i)
        named.append(found["named"].any())
    assert sum(named) <= 3
    spent = []
    for i, study in enumerate(generate(clear, 15, 4)):
        found, runs = simulated_race(study, options, i)
        spent.append(runs.height)
        right.append(found.filter(polars.col("named"))["model"].to_list() in ([], ["model0"]))
        assert found.sort("mean")["model"][-1] == "model0"
    assert all(right)
    assert sum(spent) / len(spent) < 18


def test_what_was_not_run_is_not_named():
    found = decided(race(), runs_of(("a", "r", 0, 0.9)))
    assert not found["named"].any()
    assert found["stopped"][0] is None
