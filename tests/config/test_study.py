"""The typed study: what is refused, with which words, and what a job's slice holds."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xferpipe.config import StudyError, load_study
from xferpipe.config.load import study_of_workflow
from xferpipe.graph.entries import entries_of
from xferpipe.graph.stages import job_of

ROOT = Path(__file__).parents[2]
DIGITS = yaml.safe_load((ROOT / "studies" / "digits.yaml").read_text())


def changed(*path, value):
    content = copy.deepcopy(DIGITS)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


def _drawn(architecture, **options):
    return {"architecture": architecture, "weights": "random", **options}


def test_default_study_has_the_size_its_page_promises():
    study = load_study(DIGITS)
    runs = study.runs()
    assert len(study.targets) >= 3
    assert len(study.zoo) >= 8
    assert len(runs) == len(set(runs)) <= 60


def test_smoke_form_keeps_every_kind_of_entry_and_few_jobs():
    study = load_study(DIGITS, smoke=True)
    assert {entry.weights for entry in study.zoo.values()} == {"pretrain", "random"}
    assert {target.task for target in study.targets.values()} == {"classification", "retrieval"}
    used = {run.recipe for run in study.runs()}
    assert used == set(DIGITS["finetuning_recipes"])
    assert 2 * len(study.scored()) * len(study.zoo) + 2 * len(study.runs()) < 40


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (changed("epocs", value=3), ["epocs", "unknown key"]),
        (changed("zoo", "resnet8_random", "widht", value=3), ["zoo.resnet8_random.widht"]),
        (changed("compute_threads", value="many"), ["compute_threads", "many"]),
        (changed("device", value="tpu"), ["device", "'cuda'", "tpu"]),
        (changed("targets", "digits_5_to_9", "dataset", value="x"), ["'x'", "shapes"]),
        (changed("targets", "vehicles", "task", value="classification"), ["task", "veri776"]),
        (changed("zoo", "resnet8_digits", "source", value="nowhere"), ["source", "nowhere"]),
        (changed("zoo", "resnet8_digits", "source", value=None), ["needs 'source'"]),
        (changed("zoo", "resnet8_letters", "initial", value="resnet8_letters"), ["circle"]),
        (
            changed("zoo", "resnet8_random", value=_drawn("timm:resnet10t", norm="group_ws")),
            ["zoo.resnet8_random", "norm: group_ws", "timm:resnet10t"],
        ),
        (
            changed("zoo", "resnet8_random", value=_drawn("resnet18", block_order="preactivation")),
            ["zoo.resnet8_random", "block_order: preactivation", "resnet18"],
        ),
        (
            changed("zoo", "resnet8_random", value=_drawn("resnet18", width=8)),
            ["zoo.resnet8_random", "width: 8", "resnet18"],
        ),
        (changed("finetunes", 0, "recipes", value=["sgdd"]), ["finetunes[0].recipes", "sgdd"]),
        (changed("finetunes", 0, "recipes", value=["identities"]), ["identities", "digits_5"]),
        (changed("finetunes", 0, "shots", value=[0]), ["finetunes.0.shots"]),
        (changed("targets", "vehicles", "judged_by", value="macro_f1"), ["vehicles", "mAP"]),
        (changed("scores", "methods", value=["lcf"]), ["lcf", "lfc"]),
        (changed("selection", "reference_model", value="x"), ["reference_model"]),
        (changed("zoo", value={"a b": DIGITS["zoo"]["resnet8_random"]}), ["a b"]),
        (changed("zoo", value={"../up": DIGITS["zoo"]["resnet8_random"]}), ["../up"]),
        (changed("zoo", value={}), ["zoo", "at least one"]),
        (changed("datasets", "vehicles", "root", value="/data"), ["exactly one", "generate"]),
    ],
)
def test_impossible_study_ends_in_one_error_that_names_the_key(content, names):
    with pytest.raises(StudyError) as error:
        load_study(content)
    for name in names:
        assert name in str(error.value)


def test_s003_feeds_its_targets_as_bit_does():
    """BiT's bit_pytorch/train.py resizes both sides to the same number: nothing is cut off. A model
    that has a side of its own is never fed at that of the data set, 32 or 512 px."""
    content = yaml.safe_load((ROOT / "studies/s003.yaml").read_text())
    study = load_study(content)
    large = {name for name in study.targets if study.datasets[name].image_px >= 96}
    assert large == {"pets", "flowers"}
    assert {study.datasets[name].fit for name in large} == {"stretch"}
    assert {entry.image_px for entry in study.zoo.values()} == {128, 224, 32}


def test_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(StudyError, match=r"nothing\.yaml"):
        load_study(tmp_path / "nothing.yaml")


def test_broken_yaml_is_an_error_that_names_the_file(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("zoo: [")
    with pytest.raises(StudyError, match=r"study\.yaml is not YAML"):
        load_study(file)


def test_smoke_without_a_block_is_refused():
    content = {key: value for key, value in DIGITS.items() if key != "smoke"}
    with pytest.raises(StudyError, match="no smoke block"):
        load_study(content, smoke=True)


def test_smoke_flag_of_the_command_line_finds_the_block_it_replaced(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(DIGITS))
    study = study_of_workflow({**DIGITS, "smoke": True}, [file])
    assert study == load_study(DIGITS, smoke=True)
    assert study_of_workflow({**DIGITS, "smoke": False}, [file]) == load_study(DIGITS)


@given(st.permutations(sorted(DIGITS["finetuning_recipes"]["identities"].items())))
def test_slice_does_not_depend_on_the_order_of_keys(items):
    study = load_study(changed("finetuning_recipes", "identities", value=dict(items)))
    run = ("vehicles", "full", "resnet8_random", "identities", "0")
    expected = job_of(load_study(DIGITS), "finetune", *run).canonical_json()
    assert job_of(study, "finetune", *run).canonical_json() == expected


def test_slice_reads_its_own_recipe_and_no_other():
    run = ("digits_5_to_9", "full", "resnet8_random", "sgd", "0")
    before = job_of(load_study(DIGITS), "finetune", *run)
    other = load_study(changed("finetuning_recipes", "head_only", "lr", value=0.5))
    own = load_study(changed("finetuning_recipes", "sgd", "lr", value=0.5))
    assert job_of(other, "finetune", *run) == before
    assert job_of(own, "finetune", *run) != before


def test_licence_is_shown_and_never_computed_with():
    study = load_study(changed("datasets", "shapes", "licence", value="CC0"))
    assert job_of(study, "manifest", "shapes") == job_of(load_study(DIGITS), "manifest", "shapes")


def test_entries_name_what_a_job_uses_and_no_sibling():
    job = job_of(load_study(DIGITS), "finetune", "digits_5_to_9", "5", "resnet8_random", "sgd", "0")
    assert entries_of(job) == (
        "xferpipe.datasets.readers.digits",
        "xferpipe.training.algorithms.plain",
        "xferpipe.zoo.architectures.cifar_resnet",
    )


EXPERT = {
    "experts": {"both": {"mode": "shared", "sources": ["shapes", "textures"], "recipe": "upstream"}}
}


def _domain(source, **more):
    return {
        "architecture": "cifar_resnet8",
        "weights": "expert",
        "expert": "both",
        "source": source,
        **more,
    }


def _with_expert(recipe):
    """Return the default study with an expert trained by `recipe`; textures are the smaller."""
    expert = EXPERT["experts"]["both"] | {"recipe": "own"}
    return {
        **DIGITS,
        "datasets": {
            **DIGITS["datasets"],
            "shapes": DIGITS["datasets"]["shapes"] | {"image_px": 64},
        },
        "experts": {"both": expert},
        "pretraining_recipes": {**DIGITS["pretraining_recipes"], "own": recipe},
        "zoo": {**DIGITS["zoo"], "a": _domain("shapes"), "b": _domain("textures")},
    }


def test_domains_of_an_expert_are_zoo_entries():
    zoo = DIGITS["zoo"] | {"a": _domain("shapes"), "b": _domain("textures")}
    job = job_of(load_study({**DIGITS, **EXPERT, "zoo": zoo}), "expert", "both")
    assert job.models == {"shapes": "a", "textures": "b"}
    assert list(job.datasets) == ["shapes", "textures"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("surgery", {"head": "fc512"}),
        ("processes", 2),
        ("sampler", "pk"),
        ("ra_reps", 4),
        ("hyperrule", "paper"),
        ("cache_features", True),
        ("model_ema", True),
        ("algorithm", "swa"),
    ],
)
def test_expert_recipe_of_which_training_would_ignore_a_key_is_refused(key, value):
    # A cached head is one that is trained alone.
    recipe = {key: value} | ({"train_layers": "head"} if key == "cache_features" else {})
    with pytest.raises(StudyError) as error:
        load_study(_with_expert(recipe))
    for word in ("experts.both.recipe", "'own'", f"{key}: ", "pretraining_recipes.own"):
        assert word in str(error.value)


def test_expert_recipe_whose_crop_is_larger_than_the_images_of_a_source_is_refused():
    with pytest.raises(StudyError, match=r"pretraining_recipes\.own with data set .*textures"):
        load_study(_with_expert({"train_crop_size": 40}))
    load_study(_with_expert({"train_crop_size": 16, "algorithm": "sam"}))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"a": _domain("shapes")}, ["experts.both", "textures", "weights: expert"]),
        ({"a": _domain("shapes"), "b": _domain("textures", width=8)}, ["experts.both", "differ"]),
        ({"a": _domain("digits_0_to_4")}, ["zoo.a.source", "digits_0_to_4", "shapes"]),
        ({"a": _domain("shapes", expert="none")}, ["zoo.a.expert", "both"]),
    ],
)
def test_impossible_expert_is_refused(entries, words):
    with pytest.raises(StudyError) as error:
        load_study({**DIGITS, **EXPERT, "zoo": DIGITS["zoo"] | entries})
    for word in words:
        assert word in str(error.value)
