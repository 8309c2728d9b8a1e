"""What a study may say of its races, and which runs follow."""

import copy

import pytest

from xferpipe.config import load_study
from xferpipe.config.load import StudyError
from xferpipe.config.race import Budget, Decided, Run


@pytest.fixture
def study(tiny_study):
    """A study with one race, free to be changed."""
    tiny_study["choose"] = [{"targets": ["digits"], "budget": {"runs": 4}}]
    return tiny_study


def test_names_of_a_race_are_filled_in_for_each_target_and_shots(study):
    study["choose"] = [{"shots": ["full", 5], "budget": {"hours": 1}, "recipes": ["sgd"]}]
    races = load_study(study).races()
    assert list(races) == [
        *(("digits", "full"), ("digits", "5"), ("vehicles", "full"), ("vehicles", "5"))
    ]
    race = races["digits", "5"]
    assert (race.targets, race.shots, race.models) == (("digits",), (5,), ("trained", "drawn"))
    assert race.candidates() == [("trained", "sgd"), ("drawn", "sgd")]
    assert race.slots == 2


def test_decided_runs_follow_those_of_the_grids_and_none_is_there_twice(study):
    loaded = load_study(study)
    grid = loaded.grid_runs()
    assert loaded.runs() == grid
    asked = (
        (Run("digits", "full", "drawn", "sgd", "0"), Run("digits", "full", "drawn", "sgd", "1")),
        (Run("digits", "full", "drawn", "head", "0"),),
    )
    loaded.follow("digits", "full", Decided(asked))
    assert loaded.runs() == [*grid, asked[0][1], asked[1][0]]
    assert loaded.decided("digits", "full").known == 3
    loaded.follow("digits", "full", Decided((*asked, ()), "spent"))
    assert loaded.decided("digits", "full").known == 3
    loaded.follow("digits", "full", Decided())
    assert loaded.runs() == grid


@pytest.mark.parametrize(
    ("budget", "seconds", "words"),
    [
        ({"runs": 1}, None, "1 run"),
        ({"minutes": 2}, 120, "2 min"),
        ({"hours": 0.5}, 1800, "0.5 h"),
    ],
)
def test_budget_in_seconds_and_in_words(budget, seconds, words):
    found = Budget(**budget)
    assert (found.seconds, found.words) == (seconds, words)


def test_every_model_is_scored_where_it_races(study):
    study["finetunes"] = []
    study["choose"] = [{"targets": ["digits"], "shots": [5], "budget": {"runs": 1}}]
    assert load_study(study).scored() == [("digits", "5"), ("vehicles", "full")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"budget": {}}, "either runs, minutes or hours"),
        ({"budget": {"runs": 3, "hours": 1}}, "either runs, minutes or hours"),
        ({"budget": {"runs": 0}}, "choose.0.budget.runs"),
        ({"budget": {"hours": float("inf")}}, "choose.0.budget.hours"),
        ({"targets": ["nothing"]}, "choose[0].targets: 'nothing' is not defined; allowed: digits"),
        ({"models": ["nothing"]}, "choose[0].models: 'nothing' is not defined; allowed: trained"),
        ({"recipes": ["nothing"]}, "choose[0].recipes: 'nothing' is not defined; allowed: sgd"),
        ({"models": []}, "choose[0].models: a race needs at least one"),
        ({"shots": []}, "choose[0].shots: a race needs at least one"),
        ({"shots": [999]}, "choose: shots 999 asks target 'digits'"),
        ({"confidence": 1}, "choose.0.confidence"),
        ({"seeds": 0}, "choose.0.seeds"),
        ({"keep": "best"}, "choose.0.keep"),
    ],
)
def test_race_that_cannot_be_run_is_refused_in_words(study, change, says):
    study["choose"][0] |= change
    with pytest.raises(StudyError) as error:
        load_study(study)
    assert says in str(error.value)


def test_two_races_on_one_target_and_shots_are_refused(study):
    study["choose"].append(copy.deepcopy(study["choose"][0]) | {"targets": "all"})
    with pytest.raises(StudyError) as error:
        load_study(study)
    assert "choose[1]: target 'digits' with shots full has a race already" in str(error.value)
    assert "choose[0]" in str(error.value)


def test_recipe_that_does_not_fit_the_target_is_found_in_a_race(study):
    study["finetuning_recipes"]["identities"] = {
        **{"epochs": 1, "loss": "cross_entropy_triplet", "sampler": "pk"}
    }
    with pytest.raises(StudyError) as error:
        load_study(study)
    assert "finetuning_recipes.identities" in str(error.value)
    study["choose"][0]["recipes"] = ["sgd"]
    load_study(study)


def test_history_is_a_place_of_the_user_and_must_be_there(study, tmp_path):
    from xferpipe.datasets.user_files import missing_files

    study["history"] = [str(tmp_path / "earlier.parquet")]
    loaded = load_study(study)
    (line,) = missing_files(loaded)
    assert line.startswith("history[0]: ")
    assert "no such file" in line
