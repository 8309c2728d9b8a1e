"""Checkpoints people have, each form with weights that are made here; and what is refused."""

from __future__ import annotations

import argparse
import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import anatomy_of, build_model, outputs_of
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.weights import WeightsError


def spec(architecture: str = "cifar_resnet8", **options) -> ModelSpec:
    return ModelSpec(
        architecture=architecture, **{"width": 4, "mean": (0.5,) * 3, "std": (0.5,) * 3, **options}
    )


SPEC = spec()


def drawn(seed, outputs=5, of=SPEC):
    """Return a state dict with nothing that two seeds share, running statistics included."""
    state = build_model(of, outputs, seed=seed).state_dict()
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in state.items()
    }


RAW, AVERAGED = drawn(1), drawn(2)
TRUNK = {name: value for name, value in RAW.items() if not name.startswith("fc.")}


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def loaded(content, path, of=SPEC, **options):
    """Write a file as torch does and load it."""
    torch.save(content, path)
    return file_weights.load(of, str(path), **options)


def equal(model, state):
    own = model.state_dict()
    return all(torch.equal(own[name], value) for name, value in state.items() if name in own)


# Wrappers of the file, beginnings of the names, and what stands beside the model.
FORMS = {
    "timm train.py": {
        "state_dict": RAW, "state_dict_ema": AVERAGED, "args": argparse.Namespace(lr=1), "epoch": 3,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1}]},
    },
    "torchvision train.py": {
        "model": RAW, "model_ema": {"n_averaged": torch.tensor(9), **under("module.", AVERAGED)},
        "args": argparse.Namespace(lr=1), "scaler": {"scale": 1.0},
    },
    "model_state_dict": {"model_state_dict": RAW, "loss": 0.5},
    "net": {"net": under("module.", RAW), "acc": 91.2},
    "network": {"network": RAW},
    "unknown wrapper": {"some_weights": RAW, "epoch": 1},
    "wrapper in a wrapper": {"checkpoint": {"model": {"state_dict": under("module.", RAW)}}},
    "compiled and parallel": under("_orig_mod.module.", RAW),
    "lightning": {"state_dict": under("model.", RAW), "pytorch-lightning_version": "2.0"},
    "lightning of a lightning": {"state_dict": under("model.net.backbone.", RAW)},
    "n. of its own": under("whatever.it.is.", RAW),
    "epoch among the tensors": {**RAW, "epoch": 3},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False])
def test_form_of_a_training_program_loads_bit_for_bit(tmp_path, form, zipped):
    torch.save(FORMS[form], tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    model, about = file_weights.load(SPEC, str(tmp_path / "w.pth"))
    assert equal(model, RAW)
    assert about["source_classes"] == 5


BESIDE = {
    "mlp": {"fc.0.weight": torch.ones(8, 16), "fc.2.weight": torch.ones(4, 8)},
    "of DINO": {"head.mlp.0.weight": torch.ones(8, 16), "head.last_layer.weight_g": torch.ones(3)},
}
# A momentum encoder and its queue; teacher and student; a decoder; a projector.
SELF_SUPERVISED = {
    "MoCo": {
        "state_dict": {
            **under("module.encoder_q.", TRUNK | BESIDE["mlp"]),
            **under("module.encoder_k.", drawn(2) | BESIDE["mlp"]),
            "module.queue": torch.ones(16, 32),
            "module.queue_ptr": torch.zeros(1),
        }
    },
    "DINO student": {
        "student": under("module.backbone.", TRUNK) | under("module.", BESIDE["of DINO"]),
        "teacher": under("backbone.", drawn(2)) | BESIDE["of DINO"],
        "args": argparse.Namespace(arch="x"),
    },
    "teacher and student in one": {
        "model": under("student.backbone.", TRUNK) | under("teacher.backbone.", drawn(2))
    },
    "decoder beside": {"model": TRUNK | {"decoder_embed.weight": torch.ones(8, 16)}},
    "projector beside": {"model": TRUNK | {"projector.0.weight": torch.ones(8, 16)}},
}


@pytest.mark.parametrize("form", SELF_SUPERVISED)
def test_encoder_of_self_supervision_is_taken_and_the_rest_told(tmp_path, form, caplog):
    with caplog.at_level(logging.INFO):
        model, about = loaded(SELF_SUPERVISED[form], tmp_path / "w.pth")
    assert equal(model, TRUNK)
    assert about["source_classes"] is None
    assert outputs_of(model) == 0
    assert "no classifier that fits" in caplog.text
    if "beside" in form:
        (name,) = SELF_SUPERVISED[form]["model"].keys() - TRUNK.keys()
        assert f"1 tensors left out that are not the model's: {name}" in caplog.text


BNNECK = {f"{name}": torch.ones(16) for name in ("weight", "bias", "running_mean", "running_var")}
RE_IDENTIFICATION = {
    "torchreid": {
        "state_dict": under("module.", {**TRUNK, "classifier.weight": torch.ones(751, 16),
                                        "classifier.bias": torch.ones(751)}),
        "epoch": 60, "rank1": 0.94,
    },
    "fast-reid": {
        "model": {
            **under("backbone.", TRUNK), **under("heads.bnneck.", BNNECK),
            "heads.classifier.weight": torch.ones(575, 16), "heads.weight": torch.ones(575, 16),
            "pixel_mean": torch.ones(1, 3, 1, 1), "pixel_std": torch.ones(1, 3, 1, 1),
        },
        "iteration": 100,
    },
    "strong baseline": {
        **under("base.", TRUNK), **under("bottleneck.", BNNECK),
        "classifier.weight": torch.ones(751, 16),
    },
    "bag of tricks with bn": {**TRUNK, **under("bn.", BNNECK)},
    "open metric learning": {
        "state_dict": under("model.model.", TRUNK) | {"criterion.weight": torch.ones(9, 16)}
    },
    "extractor": {"state_dict": under("extractor.", TRUNK)},
    "head of another width": {**TRUNK, "fc.weight": torch.ones(9, 512), "fc.bias": torch.ones(9)},
    "head without its bias": {**TRUNK, "fc.weight": torch.ones(9, 16)},
}  # fmt: skip


@pytest.mark.parametrize("form", RE_IDENTIFICATION)
def test_trunk_of_a_re_identification_toolbox_is_taken_without_its_head(tmp_path, form):
    model, about = loaded(RE_IDENTIFICATION[form], tmp_path / "w.pth")
    assert equal(model, TRUNK)
    assert about["source_classes"] is None


def test_head_of_any_width_comes_with_its_trunk(tmp_path):
    state = under("module.", drawn(1, outputs=751))
    model, about = loaded({"state_dict": state}, tmp_path / "w.pth")
    assert about["source_classes"] == outputs_of(model) == 751
    assert equal(model, drawn(1, outputs=751))


BOTH = {
    name: FORMS[name] for name in ("timm train.py", "torchvision train.py")
} | {"one state dict": under("model.", RAW) | under("ema_model.", AVERAGED)}  # fmt: skip


@pytest.mark.parametrize("form", BOTH)
def test_raw_or_averaged_weights_as_the_study_says(tmp_path, form, caplog):
    for ema, expected in ((None, RAW), (False, RAW), (True, AVERAGED)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            model, _ = loaded(BOTH[form], tmp_path / "w.pth", ema=ema)
        assert equal(model, expected), ema
        assert ("raw weights taken; `ema: true` takes" in caplog.text) == (ema is None)


def test_weights_of_the_other_sort_alone_are_taken_unless_the_study_says_which(tmp_path):
    model, _ = loaded({"state_dict_ema": AVERAGED}, tmp_path / "w.pth")
    assert equal(model, AVERAGED)
    with pytest.raises(WeightsError, match=r"`ema: false` asks for raw weights.*EMA ones alone"):
        loaded({"state_dict_ema": AVERAGED}, tmp_path / "w.pth", ema=False)
    with pytest.raises(WeightsError, match=r"`ema: true` asks for EMA weights.*raw ones alone"):
        loaded({"state_dict": RAW}, tmp_path / "w.pth", ema=True)


def test_model_that_is_there_twice_is_chosen_by_rename(tmp_path):
    both = under("left.", RAW) | under("right.", AVERAGED)
    with pytest.raises(WeightsError, match=r"more than once, at left\.\* and right\.\*") as caught:
        loaded(both, tmp_path / "w.pth")
    assert r"[['^left\.', '']]" in str(caught.value)
    model, _ = loaded(both, tmp_path / "w.pth", rename=((r"^right\.", ""),))
    assert equal(model, AVERAGED)
    # The same tensors twice, as where a loss holds the model too, leave nothing to choose.
    model, _ = loaded(under("left.", RAW) | under("right.", RAW), tmp_path / "w.pth")
    assert equal(model, RAW)


def test_names_of_a_place_that_is_usual_win_over_a_copy(tmp_path):
    model, _ = loaded({"best": AVERAGED, "state_dict": RAW}, tmp_path / "w.pth")
    assert equal(model, RAW)
    with pytest.raises(WeightsError, match=r"more than once, at best and last.*save the one"):
        loaded({"best": AVERAGED, "last": RAW}, tmp_path / "w.pth")


def test_pairs_of_rename_are_applied_in_turn_to_the_names_inside_the_wrapper(tmp_path):
    other = {
        name.replace("layer", "stage").replace("conv", "convolution"): value
        for name, value in RAW.items()
    }
    pairs = ((r"^stage(\d)", r"layer\1"), ("convolution", "conv"))
    model, _ = loaded({"state_dict": other}, tmp_path / "w.pth", rename=pairs)
    assert equal(model, RAW)
    with pytest.raises(WeightsError, match="and another tensor the name 'x'"):
        loaded(other, tmp_path / "w.pth", rename=((".*weight", "x"),))


def test_sharded_file_is_one_state_dict(tmp_path):
    names = list(RAW)
    for number, part in enumerate((names[::2], names[1::2])):
        save_file({name: RAW[name] for name in part}, tmp_path / f"model-{number}.safetensors")
    places = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for given in (index, tmp_path):
        model, about = file_weights.load(SPEC, str(given))
        assert equal(model, RAW)
        assert about["source_classes"] == 5


def test_torch_file_of_the_wrong_name_is_read_as_what_it_is_and_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        model, _ = loaded(RAW, tmp_path / "w.safetensors")
    assert equal(model, RAW)
    assert "a torch file in spite of its name" in caplog.text


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_stem_of_other_channels_is_adapted_as_timm_does_and_told(tmp_path, channels, caplog):
    stem = torch.rand(4, channels, 3, 3)
    with caplog.at_level(logging.INFO):
        model, _ = loaded({**RAW, "conv1.weight": stem}, tmp_path / "w.pth")
    assert f"conv1.weight: {channels} input channels adapted to 3" in caplog.text
    found = model.state_dict()["conv1.weight"]
    if channels == 1:
        grey = torch.rand(2, 1, 8, 8)
        expected = torch.nn.functional.conv2d(grey, stem)
        ours = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), found)
        assert torch.allclose(ours, expected, atol=1e-6)
    else:
        assert torch.allclose(found, stem[:, :3] * channels / 3)


def test_file_of_a_deeper_model_is_not_taken_for_a_shallower_one(tmp_path):
    deeper = drawn(1, of=spec("cifar_resnet14"))
    assert TRUNK.keys() < deeper.keys()
    with pytest.raises(WeightsError, match="another architecture") as caught:
        loaded(deeper, tmp_path / "w.pth")
    assert "unknown: layer1.1." in str(caught.value)
    with pytest.raises(WeightsError, match="another architecture"):
        loaded({**RAW, "layer4.0.conv1.weight": torch.ones(2)}, tmp_path / "w.pth")


@pytest.mark.parametrize("wrapped", [True, False])
def test_refusal_is_a_count_and_five_tensors_of_the_part_that_comes_nearest(tmp_path, wrapped):
    state = dict(TRUNK)
    lost = [name for name in state if name.startswith("layer2.0.")]
    for name in lost:
        del state[name]
    state["layer1.0.conv1.weight"] = torch.ones(4, 4, 5, 5)
    content = {"state_dict": under("module.", state), "other": {"a": torch.ones(2)}}
    with pytest.raises(WeightsError) as caught:
        loaded(content if wrapped else state, tmp_path / "w.pth")
    headline, *lines = str(caught.value).splitlines()
    count = 1 + sum("num_batches" not in name for name in lost)
    assert f": {count} tensors do not fit CifarResNet; is it a checkpoint of another" in headline
    assert len(lines) == 5
    assert "  shape: layer1.0.conv1.weight is (4, 4, 5, 5), expected (4, 4, 3, 3)" in lines
    assert any(line.startswith("  missing: layer2.0.conv1.weight (8, 4, 3, 3)") for line in lines)


def test_file_with_no_name_of_the_model_is_refused_with_names_of_both(tmp_path):
    with pytest.raises(WeightsError, match="another architecture") as caught:
        loaded({"stem.weight": torch.ones(3, 3)}, tmp_path / "w.pth")
    lines = str(caught.value).splitlines()[1:]
    assert lines[0] == "  missing: conv1.weight (4, 3, 3, 3)"
    assert "  in the file: stem.weight" in lines


def test_names_of_another_program_are_told_without_guessing_another_architecture(tmp_path):
    other = {f"x{i}.{name.rpartition('.')[2]}": RAW[name] for i, name in enumerate(RAW)}
    wrapped = {"state_dict": under("module.", other)}
    for content in (other, wrapped):
        with pytest.raises(WeightsError, match="same shapes in the same order") as caught:
            loaded(content, tmp_path / "w.pth")
        assert "add `order: true`" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        model, _ = loaded(content, tmp_path / "w.pth", order=True)
        assert equal(model, RAW)
    backwards = dict(reversed(other.items()))
    with pytest.raises(WeightsError, match="all shapes are there, names differ: give `rename`"):
        loaded(backwards, tmp_path / "w.pth")


def test_parts_of_the_anatomy_keep_their_places(tmp_path):
    model, _ = loaded({"state_dict": under("module.", RAW)}, tmp_path / "w.pth")
    assert model.get_submodule(anatomy_of(model).classifier).weight.shape == (5, 16)
