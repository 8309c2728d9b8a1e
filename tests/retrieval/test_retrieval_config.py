"""What a study may say of retrieval: impossible combinations end before any job starts."""

import pytest

from xferpipe.config import StudyError, load_study
from xferpipe.graph.graph import all_jobs
from xferpipe.graph.stages import job_of


def study(**changes):
    content = {
        "name": "cars",
        "datasets": {"cars": {"reader": "veri776", "generate": {"test_identities": 4}}},
        "targets": {"cars": {"dataset": "cars", "task": "retrieval"}},
        "zoo": {"small": {"architecture": "cifar_resnet8", "weights": "random"}},
        "finetuning_recipes": {"plain": {}},
        "finetunes": [{"recipes": ["plain"]}],
    }
    return load_study(content | changes)


def test_study_index_lists_of_veri_are_allowed():
    assert study(retrieval={"junk_rule": "index_lists"}).retrieval.junk_rule == "index_lists"


def test_study_index_lists_of_another_format_are_refused():
    market = {"cars": {"reader": "market1501", "generate": {}}}
    with pytest.raises(StudyError, match=r"retrieval\.junk_rule: index_lists are files of VeRi"):
        study(datasets=market, retrieval={"junk_rule": "index_lists"})


def test_study_generated_vehicleid_list_must_be_the_one_that_is_written():
    cars = {"reader": "vehicleid", "generate": {"test_identities": 4}}
    with pytest.raises(StudyError, match="generated set has 4 test identities"):
        study(datasets={"cars": cars})
    assert study(datasets={"cars": cars | {"test_list": 4}}).datasets["cars"].galleries == 10


@pytest.mark.parametrize("generate", [None, {}])
def test_study_set_needs_a_folder_or_a_generator_and_not_both(generate):
    cars = {"reader": "veri776"} | ({} if generate is None else {"root": "x", "generate": generate})
    with pytest.raises(StudyError, match="exactly one of 'root'"):
        study(datasets={"cars": cars})


@pytest.mark.parametrize("smoke", [False, True])
def test_s000_is_a_study_with_every_cell(smoke):
    from pathlib import Path

    found = load_study(Path(__file__).parents[2] / "studies/s000.yaml", smoke=smoke)
    recipes = {run.recipe for run in found.runs()}
    surgeries = [found.finetuning_recipes[name].surgery for name in recipes]
    cells = {(surgery.head, surgery.last_stride) for surgery in surgeries}
    assert cells >= {("linear", 1), ("linear", 2), ("fc512", 1), ("fc512", 2), ("bnneck", 1)}
    assert found.retrieval.rerank
    if not smoke:
        runs = found.runs()
        assert len([run for run in runs if not run.recipe.endswith("epochs15")]) >= 2 * 16 * 3
        assert {found.finetuning_recipes[name].epochs for name in recipes} == {10, 15, 60}


def test_study_that_keeps_features_ranks_anew_and_trains_nothing_anew():
    run = ("cars", "full", "small", "plain", "0")
    plain, keeps = (
        {stage: job_of(one, stage, *run).canonical_json() for stage in ("finetune", "retrieval")}
        for one in (study(), study(retrieval={"keep_features": True}))
    )
    assert plain["finetune"] == keeps["finetune"]
    assert plain["retrieval"] != keeps["retrieval"]
    assert "keep_features" not in plain["retrieval"]  # As before there was such an option.


LETTERS = {"reader": "generated", "kind": "letters", "classes": 4}
TWO_SETS = {
    "datasets": {
        "cars": {"reader": "veri776", "generate": {"test_identities": 4}},
        "letters": LETTERS,
    },
    "targets": {
        "cars": {"dataset": "cars", "task": "retrieval"},
        "letters": {"dataset": "letters"},
    },
    "zoo": {
        name: {"architecture": "cifar_resnet8", "weights": "random"} for name in ("small", "other")
    },
}


def slices(one):
    return {job: job_of(one, *job).canonical_json() for job in all_jobs(one)}


@pytest.mark.parametrize(("asked", "models"), [("all", "all"), (["other"], ["other"])])
def test_study_models_evaluated_as_they_are_are_jobs_of_a_recipe_without_epochs(asked, models):
    plain = {"recipes": ["plain"], "targets": ["letters"]}
    grid = {"recipes": ["as_is"], "targets": ["cars"], "models": models}
    recipes = {"plain": {}, "as_is": {"epochs": 0}}
    written_out = study(**TWO_SETS, finetuning_recipes=recipes, finetunes=[plain, grid])
    short = study(**TWO_SETS, finetunes=[plain], retrieval={"evaluate": asked})
    assert slices(short) == slices(written_out)
    ranked = [run for run in short.runs() if run.recipe == "as_is"]
    assert {run.target for run in ranked} == {"cars"}
    assert {run.model for run in ranked} == ({"small", "other"} if asked == "all" else {"other"})
    # A study that is written out and read again is the same one.
    again = load_study(short.model_dump(mode="json"))
    assert slices(again) == slices(short)


def test_study_that_evaluates_alone_needs_no_recipe():
    short = study(finetuning_recipes={}, finetunes=[], retrieval={"evaluate": "all"})
    assert [run.recipe for run in short.runs()] == ["as_is"]
    assert not short.trains_on("cars")


def test_study_race_of_all_recipes_leaves_out_the_one_that_evaluate_brings():
    race = {"targets": ["letters"], "budget": {"runs": 2}}
    found = study(**TWO_SETS, finetunes=[], choose=[race], retrieval={"evaluate": "all"})
    assert found.races()["letters", "full"].recipes == ("plain",)
    with pytest.raises(StudyError, match=r"choose\[0\]\.recipes: a race needs at least one"):
        study(
            **TWO_SETS,
            finetuning_recipes={},
            finetunes=[],
            choose=[race],
            retrieval={"evaluate": "all"},
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retrieval": {"evaluate": ["smal"]}}, r"retrieval\.evaluate: 'smal' is not defined"),
        (
            {"retrieval": {"evaluate": "all"}, "finetuning_recipes": {"plain": {}, "as_is": {}}},
            r"finetuning_recipes\.as_is trains; give that recipe another name",
        ),
        (
            {
                "retrieval": {"evaluate": "all"},
                "datasets": {"letters": LETTERS},
                "targets": {"letters": {"dataset": "letters"}},
            },
            r"retrieval\.evaluate: no target has task: retrieval",
        ),
    ],
)
def test_study_evaluation_that_cannot_be_is_refused(changes, message):
    with pytest.raises(StudyError, match=message):
        study(**changes)
