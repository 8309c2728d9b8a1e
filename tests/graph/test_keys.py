"""Cumulative keys: a change reaches every job below it and no other."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy
import yaml
from safetensors.numpy import save_file

from xferpipe.config import load_study
from xferpipe.graph import code
from xferpipe.graph.entries import entries_of
from xferpipe.graph.environment import environment_of
from xferpipe.graph.graph import all_jobs
from xferpipe.graph.keys import Keys
from xferpipe.graph.stages import job_of

ROOT = Path(__file__).parents[2]
DIGITS = yaml.safe_load((ROOT / "studies" / "digits.yaml").read_text())
ENVIRONMENT = environment_of(ROOT, conda=False)
END = {("aggregate",), ("report",), ("figures",)}


def all_keys(content):
    keys = Keys(load_study(content), ENVIRONMENT)
    return {job: keys(*job).key for job in all_jobs(keys.study)}


def changed_jobs(*path, value):
    content = copy.deepcopy(DIGITS)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    before, after = all_keys(DIGITS), all_keys(content)
    return {name for name in before if after.get(name) != before[name]}


def test_change_of_a_source_reaches_everything_below_it():
    changed = changed_jobs("datasets", "shapes", "images_per_class", value=50)
    assert ("pretrain", "resnet8_shapes") in changed
    assert ("features", "digits_5_to_9", "full", "resnet8_shapes") in changed
    assert ("retrieval", "vehicles", "full", "resnet8_shapes", "identities", "0") in changed
    assert not any("resnet8_letters" in name or "resnet8_textures" in name for name in changed)


def test_change_of_initial_weights_reaches_the_model_that_starts_from_them():
    changed = changed_jobs("zoo", "resnet8_letters", "width", value=8)
    assert ("pretrain", "resnet8_shapes_from_letters") in changed
    assert ("pretrain", "resnet8_shapes") not in changed


def test_change_of_a_file_of_weights_reaches_the_model_that_is_loaded_from_it(tmp_path):
    """Its name is the same; what it holds is another."""
    file = tmp_path / "weights.safetensors"
    content = copy.deepcopy(DIGITS)
    content["zoo"]["loaded"] = {
        **{"architecture": "cifar_resnet8", "weights": "file", "name": str(file)},
        **{"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    found = []
    for size in (3, 4):
        save_file({"fc.weight": numpy.zeros((2, size))}, file)
        found.append(all_keys(content))
    changed = {name for name in found[0] if found[0][name] != found[1][name]}
    assert ("load_weights", "loaded") in changed
    assert ("features", "digits_5_to_9", "full", "loaded") in changed
    assert all("loaded" in name for name in changed - END)


def test_change_of_what_is_ranked_again_reaches_rankings_only():
    changed = changed_jobs("retrieval", "rerank_k1", value=19)
    assert {name[0] for name in changed} == {"retrieval", "aggregate", "report", "figures"}


def test_change_of_the_distance_reaches_what_is_chosen_by_it():
    changed = changed_jobs("retrieval", "distance", value="cosine")
    named = {"finetune", "retrieval", "aggregate", "report", "figures"}
    assert {name[0] for name in changed} == named
    assert {name[1] for name in changed if name[0] == "finetune"} == {"vehicles"}


def test_code_of_the_ranking_is_in_the_key_of_what_ranks_and_of_no_other():
    study = load_study(DIGITS)
    modules = [
        code.modules_of("finetune", entries_of(job_of(study, "finetune", *run)))
        for run in (
            ("vehicles", "full", "resnet8_shapes", "identities", "0"),
            ("digits_5_to_9", "full", "resnet8_digits", "sgd", "0"),
        )
    ]
    ranks = [{name for name in some if name.startswith("xferpipe.retrieval")} for some in modules]
    assert "xferpipe.retrieval.query_figures" in ranks[0]
    assert not ranks[1]


def test_change_of_what_features_are_taken_reaches_the_fine_tunes_that_take_them():
    asked = DIGITS["report"]["feature_correlation"]
    run = ("finetune", "digits_5_to_9", "full", "resnet8_digits", "sgd", "0")
    changed = changed_jobs("report", "feature_correlation", value=asked | {"epochs": [1, 3]})
    assert changed == {run, *END}
    other = (*run[:3], "resnet14_digits", *run[4:])
    changed = changed_jobs(
        "report", "feature_correlation", value=asked | {"models": ["resnet14_digits"]}
    )
    assert changed == {run, other, *END}


def test_change_of_what_judges_a_target_reaches_its_fine_tunes_and_what_rests_on_them():
    changed = changed_jobs("targets", "digits_5_to_9", "judged_by", value="macro_f1")
    assert {name[1] for name in changed if name[0] == "finetune"} == {"digits_5_to_9"}
    assert not {name[0] for name in changed} & {"features", "gradients", "continual", "retrieval"}
    assert changed >= END


def test_every_job_has_its_own_key():
    keys = all_keys(DIGITS)
    assert len(set(keys.values())) == len(keys)


def test_change_of_the_environment_reaches_every_job():
    keys = Keys(load_study(DIGITS), replace(ENVIRONMENT, file="another"))
    before = all_keys(DIGITS)
    assert all(keys(*job).key != before[job] for job in all_jobs(keys.study))


def test_another_polars_reaches_the_tables_and_another_torch_what_runs_models():
    before = all_keys(DIGITS)
    changed = {}
    for name in ("polars", "torch"):
        versions = {**ENVIRONMENT.versions, name: "0.1"}
        keys = Keys(load_study(DIGITS), replace(ENVIRONMENT, versions=versions))
        changed[name] = {job[0] for job in all_jobs(keys.study) if keys(*job).key != before[job]}
    assert changed["polars"] == {"aggregate", "report", "figures"}
    assert changed["torch"] == {job[0] for job in before}
