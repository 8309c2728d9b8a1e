"""Exported models: read back, opened by timm, told on a card."""

import json

import pytest
import torch

from xferpipe.handover.bundle import read_bundle, write_bundle
from xferpipe.handover.predict import prepared
from xferpipe.zoo.weights import load_model, read_weights


def test_export_holds_the_weights_the_classes_and_the_figures(digits, tmp_path):
    about = write_bundle(digits, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    bundle = read_bundle(tmp_path / "out")
    assert bundle.about == about
    assert about.class_names == ("5", "6", "7")
    own = load_model(about.spec, digits.weights).state_dict()
    assert all(torch.equal(own[name], value) for name, value in bundle.model.state_dict().items())
    assert not bundle.model.training
    card = (tmp_path / "out" / "README.md").read_text()
    run, answer = digits.run, digits.answer
    assert f"| validation, which chose it | accuracy | {run['validation_accuracy']:.3f} |" in card
    interval = f"{answer['test_low']:.3f} to {answer['test_high']:.3f} | {answer['test_images']}"
    assert f"{answer['test']:.3f} | {interval} |" in card
    assert "5, 6, 7" in card
    assert about.key[:16] in card
    assert "2 epochs of SGD at a learning rate of 0.0" in card
    assert "- Weights that it started from: trained in the study." in card


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"named": True}, "The study names it as the best. Probability of being the best"),
        ({"settled": True}, "The study picks it: no other is better by a difference that matters"),
        ({"pick": True}, "It leads, and the question is open"),
        ({}, "It is not the pick of the study. Probability"),
    ],
)
def test_card_says_how_sure_the_answer_is(digits, flags, words, tmp_path):
    from dataclasses import replace

    none = dict.fromkeys(("pick", "named", "settled"), False)
    own = digits.answer | none | flags | {"probability_best": 0.421}
    write_bundle(replace(digits, answer=own), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert words in card
    assert "of all that were compared: 0.42; of being within 0.01 of it: " in card


@pytest.mark.parametrize(
    "dataset",
    [
        {"reader": "image_folder", "root": "photos", "image_px": 16, "fit": "stretch"},
        {"reader": "table", "path": "list.csv", "root": "photos", "image_px": 16},
        {
            "reader": "image_folder",
            "root": "photos",
            "image_px": 16,
            "decoding": {"window": [0, 9]},
        },
    ],
)
def test_run_on_files_of_somebodys_own_is_exported_wherever_they_lie(digits, tmp_path, dataset):
    """A slice has no places: what a run says of itself leaves them out."""
    from dataclasses import replace

    from xferpipe.config.jobs import FinetuneJob
    from xferpipe.records.stamp import read_stamp, stamping
    from xferpipe.zoo.weights import save_weights

    stamp = read_stamp(digits.weights)
    job = FinetuneJob.model_validate_json(
        json.dumps({**json.loads(stamp.slice), "dataset": dataset})
    )
    weights = tmp_path / "weights.safetensors"
    with stamping(replace(stamp, slice=job.canonical_json())):
        assert "photos" not in job.canonical_json()
        save_weights(load_model(job.spec, digits.weights), weights)
    about = write_bundle(replace(digits, weights=weights), tmp_path / "out")
    assert about.preprocessing.fit == dataset.get("fit", "crop")
    assert about.preprocessing.decoded_px == 16


def test_export_does_not_touch_a_folder_that_is_there(digits, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        write_bundle(digits, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_export_that_fails_leaves_nothing(digits, tmp_path, monkeypatch):
    def broken(*given):
        raise OSError(28, "no space left")

    monkeypatch.setattr("xferpipe.handover.bundle.model_card", broken)
    with pytest.raises(OSError, match="no space left"):
        write_bundle(digits, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_weights_that_another_program_rewrote_are_refused(digits, tmp_path):
    from dataclasses import replace

    from safetensors.torch import save_file

    save_file(read_weights(digits.weights)[0], tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="another program rewrote the file"):
        write_bundle(replace(digits, weights=tmp_path / "weights.safetensors"), tmp_path / "out")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"xferpipe": {"task": 3}}'])
def test_damaged_configuration_is_told(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json is damaged .*; export the model again"):
        read_bundle(tmp_path)


def test_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="`xferpipe export` writes one"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("name", "sizes", "px", "crop"),
    [
        ("timm:test_resnet", {}, 64, 1.0),
        ("timm:test_resnet", {"val_resize_size": 60, "val_crop_size": 48}, 48, 48 / 60),
        ("timm:test_vit", {"val_resize_size": 224}, 224, 1.0),  # takes one side
    ],
)
def test_timm_opens_an_export_and_gives_the_same_outputs(timm_run, tmp_path, name, sizes, px, crop):
    import timm

    won = timm_run(name, **sizes)
    about = write_bundle(won, tmp_path / "out")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    ready = prepared(images.to(torch.uint8), about.preprocessing)
    assert ready.shape[-1] == px
    with torch.inference_mode():
        again = read_bundle(tmp_path / "out").model(ready)
        torch.testing.assert_close(again, model(ready), rtol=1e-4, atol=1e-5)
    config = model.pretrained_cfg
    assert config["label_names"] == ["5", "6", "7"]
    assert tuple(config["mean"]) == about.preprocessing.mean
    assert tuple(config["input_size"]) == (3, px, px)
    data = timm.data.resolve_model_data_config(model)
    assert data["crop_pct"] == pytest.approx(crop)


def test_other_architectures_are_not_called_timms(digits, tmp_path):
    write_bundle(digits, tmp_path / "out")
    assert set(json.loads((tmp_path / "out" / "config.json").read_text())) == {"xferpipe"}
    assert "timm" not in (tmp_path / "out" / "README.md").read_text().split("## How it was made")[0]
