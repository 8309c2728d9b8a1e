"""The first study of somebody's own images."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from xferpipe.cli.features import _usual_px
from xferpipe.cli.first_study import (
    budget_of,
    content,
    dataset_of,
    reader_of,
    recipes_of,
    small_models,
    study_name,
    usual_task,
    words_of,
)
from xferpipe.config import load_study
from xferpipe.config.race import Budget
from xferpipe.config.recipes import Recipe

ROOT = Path(__file__).resolve().parents[2]


def study(**options):
    usual = {
        "name": "photos",
        "dataset": {"reader": "image_folder", "root": "photos", "image_px": 96},
        "task": "classification",
        "training_images": 1000,
        "models": ["small"],
        "recipes": None,
        "budget": {"minutes": 5},
        "seeds": None,
    }
    return content(**{**usual, **options})


@pytest.mark.parametrize(
    ("text", "block", "seconds"),
    [
        ("90s", {"minutes": 1.5}, 90),
        ("5m", {"minutes": 5}, 300),
        ("2h", {"hours": 2}, 7200),
        ("1.5h", {"hours": 1.5}, 5400),
        ("12", {"runs": 12}, None),
        ("all", None, None),
    ],
)
def test_budget_is_a_time_a_number_of_runs_or_all(text, block, seconds):
    found = budget_of(text)
    assert found == block
    if block is not None:
        assert Budget.model_validate(found).seconds == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "0", "0m", "-3", "1.5", "m", "5d", "nan", "1e3"])
def test_budget_that_is_none_is_refused_with_what_is_expected(text):
    with pytest.raises(ValueError, match="is no budget; expected a time of fine-tuning as 90s"):
        budget_of(text)


def test_recipes_are_those_of_the_history_that_ships():
    known = yaml.safe_load((ROOT / "studies/history/history.yaml").read_text())
    assert recipes_of("classification", None) == known["finetuning_recipes"]


def test_recipes_are_picked_by_name_and_others_refused():
    assert list(recipes_of("classification", ["strong", "head"])) == ["head", "strong"]
    named = recipes_of("classification", ["knn", "linear_probe", "lora", "full"])
    assert list(named) == ["knn", "linear_probe", "lora", "full"]
    presets = {name: Recipe.model_validate(recipe) for name, recipe in named.items()}
    assert presets["knn"].remembers
    assert presets["lora"].surgery.lora.rank == 8
    with pytest.raises(ValueError, match="'tiny' is unknown; allowed for classification: head, ge"):
        recipes_of("classification", ["tiny"])
    with pytest.raises(ValueError, match="'head' is unknown; allowed for retrieval: identities"):
        recipes_of("retrieval", ["head"])


def test_lite_models_have_the_names_and_builds_of_the_history_that_ships():
    known = yaml.safe_load((ROOT / "studies/history/history.yaml").read_text())["zoo"]
    ours = study(models=["lite"])["zoo"]
    for name, entry in ours.items():
        for key in ("architecture", "mean", "std"):
            assert entry[key] == known[name][key]


@pytest.mark.parametrize(
    ("models", "px"),
    [
        (["small"], 32),
        (["lite"], 96),
        (["small", "efficientnet_lite1"], 96),
        (["small", "resnet50"], 224),
    ],
)
def test_side_of_images_follows_from_the_models(models, px):
    assert dataset_of(Path("photos"), "image_folder", models, None)["image_px"] == px
    assert dataset_of(Path("photos"), "image_folder", models, 64)["image_px"] == 64


@pytest.mark.parametrize(
    ("models", "asked", "px", "sides"),
    [
        # DINOv2 was trained on 518 px; the others do not pay for that.
        (["timm:vit_base_patch14_dinov2"], None, 518, [None]),
        (["timm:vit_base_patch14_dinov2", "resnet50"], None, 518, [None, 224]),
        (["timm:vit_base_patch14_dinov2", "resnet50"], 224, 224, [224, None]),
        # 96 px are no multiple of its patches, so that they are resized for it.
        (["timm:vit_base_patch14_dinov2", "resnet50"], 96, 96, [None, None]),
        # timm cuts 0.9 of the resized image out: 224 of 248 px.
        (["timm:vit_tiny_patch16_224", "lite"], None, 248, [None, 224, 224, 224]),
        (["inception_v3"], 64, 64, [299]),
    ],
)
def test_every_model_gets_images_of_a_side_that_it_takes(models, asked, px, sides):
    dataset = dataset_of(Path("photos"), "image_folder", models, asked)
    assert dataset["image_px"] == px
    written = study(models=models, dataset=dataset, image_px=asked)
    assert [entry.get("image_px") for entry in written["zoo"].values()] == sides
    load_study(written)


def test_a_race_over_all_models_and_recipes_is_written_with_its_budget():
    loaded = load_study(study())
    ((place, race),) = loaded.races().items()
    assert place == ("photos", "full")
    assert race.budget.words == "5 min"
    assert len(race.candidates()) == 5 * 3
    assert loaded.exported() == [place]
    assert loaded.runs() == []


def test_everything_is_run_twice_where_there_is_no_budget():
    loaded = load_study(study(budget=None))
    assert len(loaded.runs()) == 5 * 3 * 2
    assert loaded.races() == {}
    assert loaded.exported() == [("photos", "full")]


def test_identities_race_too():
    dataset = {"reader": "veri776", "root": "cars", "image_px": 32}
    loaded = load_study(study(task="retrieval", dataset=dataset))
    (race,) = loaded.races().values()
    assert race.recipes == ("identities", "identities_gentle")


@pytest.mark.parametrize(
    ("images", "fraction"), [(100, 0.4), (192, 0.4), (400, 0.25), (500, None), (9000, None)]
)
def test_a_choice_rests_on_a_hundred_images_where_so_many_can_be_spared(images, fraction):
    target = study(training_images=images)["targets"]["photos"]
    assert target.get("validation_fraction") == fraction


def test_small_models_see_small_images_beside_others_and_whole_ones_alone():
    alone = study()
    assert "image_px" not in alone["zoo"]["resnet8_digits"]
    assert alone["datasets"]["digits"]["image_px"] == 96
    beside = study(models=["small", "resnet50"])
    assert beside["zoo"]["resnet8_random"]["image_px"] == 32
    assert beside["datasets"]["digits"]["image_px"] == 32
    assert [name for name in beside["zoo"] if name != "resnet50"] == small_models()


def test_name_of_a_source_is_refused():
    with pytest.raises(ValueError, match="'digits' is a source of the small models"):
        study(name="digits")


@pytest.mark.parametrize(
    ("columns", "task"), [("path,label", "classification"), ("path,identity,camera", "retrieval")]
)
def test_table_of_identities_is_for_retrieval(tmp_path, columns, task):
    (tmp_path / "list.csv").write_text(columns + "\n")
    assert usual_task(tmp_path / "list.csv", "table") == task


def test_names_and_words_are_cleaned(tmp_path):
    assert study_name(tmp_path / "my photos!") == "my_photos"
    assert words_of(" small, ,lite") == ["small", "lite"]


@pytest.mark.parametrize(
    ("model", "px"), [("timm:vit_base_patch14_dinov2", 518), ("resnet18", 224), ("lite", 224)]
)
def test_features_are_taken_of_images_of_the_side_that_the_model_needs(model, px):
    assert _usual_px(model) == px


def test_images_of_identities_are_stretched_and_the_study_says_so():
    table = dataset_of(Path("people.csv"), "table", ["small"], None, "retrieval")
    assert table["fit"] == "stretch"
    assert "fit" not in dataset_of(Path("flowers.csv"), "table", ["small"], None)


@pytest.mark.parametrize(
    ("file", "reader"),
    [
        ("bounding_box_train/0001_c2_f0046182.jpg", "dukemtmc"),
        ("bounding_box_train/0002_c1s1_000451_03.jpg", "market1501"),
        ("labeled/bounding_box_train/0003_c1_21.png", "cuhk03_np"),
        ("list_train.txt", "msmt17"),
        ("people/ada/1.jpg", "image_folder"),
    ],
)
def test_layouts_of_identities_are_told_apart_by_their_names(tmp_path, file, reader):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"1")
    assert reader_of(tmp_path) == reader
    boxes = dataset_of(tmp_path, reader, ["small"], None, "retrieval").get("boxes")
    assert boxes == ("labeled" if reader == "cuhk03_np" else None)
