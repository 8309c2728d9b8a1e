"""Weights: round trips, and errors that list every tensor and name the file and the cure."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file

from xferpipe.config.jobs import ModelSpec
from xferpipe.records import read_table
from xferpipe.zoo.architectures.timm_models import is_projection
from xferpipe.zoo.build import build_model, outputs_of
from xferpipe.zoo.card import class_means, write_card
from xferpipe.zoo.origins import file_weights, timm_weights, torchvision_weights
from xferpipe.zoo.weights import WeightsError, load_model, load_state, save_weights

#: Numbers of classes that weights of timm have: of ImageNet, its larger sets, and two others.
LABELS = (0, 1000, 11221, 11821, 19168, 21841, 21842, 21843, 115217)


def spec(architecture: str = "cifar_resnet8", **options) -> ModelSpec:
    return ModelSpec(
        architecture=architecture, **{"width": 4, "mean": (0.5,) * 3, "std": (0.5,) * 3, **options}
    )


def equal(one, other) -> bool:
    one, other = one.state_dict(), other.state_dict()
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("outputs", [0, 5])
def test_saved_model_is_loaded_bit_for_bit(tmp_path, outputs):
    model = build_model(spec(), outputs, seed=3)
    save_weights(model, tmp_path / "w.safetensors")
    assert equal(load_model(spec(), tmp_path / "w.safetensors"), model)


def test_weights_of_another_architecture_list_five_tensors_of_every_sort_and_a_count(tmp_path):
    save_weights(build_model(spec("cifar_resnet14"), 5), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_model(spec("cifar_resnet8", width=8), tmp_path / "w.safetensors")
    headline, *lines = str(caught.value).splitlines()
    given, own = (
        build_model(spec(name, width=width), 5).state_dict()
        for name, width in (("cifar_resnet14", 4), ("cifar_resnet8", 8))
    )
    wrong = sum(name not in own or own[name].shape != value.shape for name, value in given.items())
    assert f"{wrong} tensors do not fit CifarResNet" in headline
    assert "another architecture" in headline
    assert "  shape: conv1.weight is (4, 3, 3, 3), expected (8, 3, 3, 3)" in lines
    assert any(line.startswith("  unknown: layer1.1.bn1.") for line in lines)
    assert len(lines) == 5


def test_missing_tensor_is_listed_and_the_classifier_may_be_left_out():
    model = build_model(spec(), 5)
    state = build_model(spec(), 7).state_dict()
    with pytest.raises(WeightsError, match=r"fc\.weight is \(7, 16\), expected \(5, 16\)"):
        load_state(model, state, origin="x")
    load_state(model, state, origin="x", classifier=False)
    assert outputs_of(model) == 5
    del state["conv1.weight"]
    with pytest.raises(WeightsError, match=r"missing: conv1\.weight"):
        load_state(model, state, origin="x", classifier=False)


def test_file_that_is_missing_or_no_safetensors_is_named(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        load_model(spec(), tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not a weights file at all")
    with pytest.raises(WeightsError, match="expected a safetensors file"):
        load_model(spec(), tmp_path / "bad.safetensors")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_ema"])
@pytest.mark.parametrize(
    "beginning", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.module."]
)
def test_torch_file_is_read_whatever_program_wrote_it(tmp_path, wrapper, beginning):
    model = build_model(spec(), 5, seed=4)
    state = {f"{beginning}{name}": value for name, value in model.state_dict().items()}
    path = tmp_path / "w.pth"
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    found, about = file_weights.load(spec(), str(path))
    assert equal(found, model)
    assert about["source_classes"] == 5


def test_foreign_safetensors_of_a_wrapped_model_have_its_own_names(tmp_path):
    model = build_model(spec(), 5, seed=4)
    state = {f"_orig_mod.module.{name}": value for name, value in model.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    assert equal(file_weights.load(spec(), str(tmp_path / "w.safetensors"))[0], model)


def test_foreign_safetensors_without_classifier_gives_a_model_without_classes(tmp_path):
    state = {k: v for k, v in build_model(spec(), 5).state_dict().items() if k[:2] != "fc"}
    save_file(state, tmp_path / "w.safetensors")
    found, about = file_weights.load(spec(), str(tmp_path / "w.safetensors"))
    assert outputs_of(found) == 0
    assert about["source_classes"] is None


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_file_that_holds_more_than_tensors_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(WeightsError, match="nothing else is unpickled"):
        file_weights.load(spec(), str(path))
    torch.save({"a": "text"}, path)
    with pytest.raises(WeightsError, match="expected tensors under their names, found a dict of a"):
        file_weights.load(spec(), str(path))
    assert "unpickled" not in capsys.readouterr().out


def test_torchvision_weights_are_found_in_the_cache_by_name(tmp_path, monkeypatch):
    """A file under the published name, as a download would have left it."""
    from torchvision.models import MobileNet_V3_Small_Weights, mobilenet_v3_small

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    made = mobilenet_v3_small()
    name = MobileNet_V3_Small_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(made.state_dict(), tmp_path / "hub/checkpoints" / name)
    model, about = torchvision_weights.load(spec("mobilenet_v3_small"), "IMAGENET1K_V1")
    assert equal(model, made)
    assert about["source_classes"] == 1000
    # Printed in torchvision's own table of weights.
    assert about["source_accuracy"] == pytest.approx(0.67668)


def test_densenet_names_of_the_published_file_are_translated(tmp_path, monkeypatch):
    from torchvision.models import DenseNet121_Weights, densenet121

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    made = densenet121()
    name = DenseNet121_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in made.state_dict().items()
    }
    assert any("denselayer1.norm.1.weight" in key for key in old)
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(old, tmp_path / "hub/checkpoints" / name)
    assert equal(torchvision_weights.load(spec("densenet121"), "IMAGENET1K_V1")[0], made)


@pytest.mark.parametrize("origin", ["load_model", "file_weights"])
def test_googlenet_as_published_gives_torchvisions_logits_from_its_file(
    tmp_path, monkeypatch, origin
):
    """Its published weights come with `transform_input`, which no state dict holds."""
    from torchvision.models import GoogLeNet_Weights, googlenet

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    made = googlenet(weights=None, init_weights=False)
    name = GoogLeNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(made.state_dict(), tmp_path / "hub/checkpoints" / name)
    # What `googlenet(weights=...)` sets beside the weights.
    made.transform_input = True
    save_weights(
        torchvision_weights.load(spec("googlenet"), "IMAGENET1K_V1")[0], tmp_path / "w.safetensors"
    )
    if origin == "load_model":
        found = load_model(spec("googlenet"), tmp_path / "w.safetensors")
    else:
        found, _ = file_weights.load(spec("googlenet"), str(tmp_path / "w.safetensors"))
    # In training mode, where statistics of the batch let something through fresh weights too.
    images = torch.randn(4, 3, 64, 64)
    made.dropout.p = found.dropout.p = 0.0
    made.aux1 = made.aux2 = None
    expected = made.train()(images).logits
    assert torch.allclose(found.train()(images), expected, atol=1e-4)
    made.transform_input = False
    assert not torch.allclose(made(images).logits, expected, atol=1e-2)


def test_torchvision_weights_that_are_missing_say_which_file_to_put_where(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(WeightsError) as caught:
        torchvision_weights.load(spec("resnet18"), "IMAGENET1K_V1")
    assert str(tmp_path / "hub/checkpoints/resnet18-f37072fd.pth") in str(caught.value)
    with pytest.raises(WeightsError, match="allowed: IMAGENET1K_V1"):
        torchvision_weights.load(spec("resnet18"), "IMAGENET1K_V9")


def test_timm_weights_are_found_beside_torchs_or_named(tmp_path, monkeypatch):
    import timm

    def offline(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    bit = spec("timm:resnet10t")
    with monkeypatch.context() as patch:
        patch.setattr("timm.create_model", offline)
        with pytest.raises(WeightsError, match=r"put it at .*resnet10t\.c3_in1k\.safetensors"):
            timm_weights.load(bit, "c3_in1k")
    with pytest.raises(WeightsError, match="allowed tags: c3_in1k"):
        timm_weights.load(bit, "nothing")
    made = timm.create_model("resnet10t")
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    save_file(made.state_dict(), tmp_path / "hub/checkpoints/resnet10t.c3_in1k.safetensors")
    assert equal(timm_weights.load(bit, "c3_in1k")[0], made)


@pytest.mark.parametrize(("outputs", "classes"), [(512, 0), (7, 7)])
@pytest.mark.parametrize("origin", ["file", "timm's cache", "timm"])
def test_projection_beside_texts_is_no_classifier(tmp_path, monkeypatch, outputs, classes, origin):
    import timm

    name = "vit_xsmall_patch16_clip_224"
    clip = spec(f"timm:{name}", image_px=224)
    made = timm.create_model(name, num_classes=outputs)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints" / f"{name}.tinyclip_yfcc15m.safetensors"
    if origin == "timm":
        monkeypatch.setattr("timm.create_model", lambda *_, **__: made)
    else:
        path.parent.mkdir(parents=True)
        save_file(made.state_dict(), path)
    if origin == "file":
        found, about = file_weights.load(clip, str(path))
    else:
        found, about = timm_weights.load(clip, "tinyclip_yfcc15m")
    assert outputs_of(found) == classes
    assert about["source_classes"] == (classes or None)
    body = {key: value for key, value in made.state_dict().items() if key[:5] != "head."}
    assert all(torch.equal(found.state_dict()[key], value) for key, value in body.items())


def test_every_published_width_of_a_projection_is_one_of_image_text_models():
    """What timm publishes tells them apart: no classifier of labels is as wide."""
    import timm

    words = ("clip", "vit_pe_core_", "eva02_", "_mci")
    for full in timm.list_pretrained():
        width = timm.get_pretrained_cfg(full).num_classes
        image_text = is_projection(f"timm:{full}", width)
        assert not image_text or any(word in full for word in words), full
        assert image_text or width in LABELS, full


def test_card_counts_parameters_without_the_classifier(tmp_path):
    model = build_model(spec(), 5)
    write_card(tmp_path / "card.parquet", model, model="m", source_accuracy=0.5)
    row = read_table("zoo", tmp_path / "card.parquet").row(0, named=True)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert row["parameters"] == total - 16 * 5 - 5
    assert (row["feature_dimension"], row["model"], row["source"]) == (16, "m", None)


def test_class_means_equal_a_loop_and_are_zero_for_an_empty_class():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(20, 6, generator=draw)
    labels = torch.arange(20) % 3
    means, counts = class_means(features, labels, 4)
    for label in range(3):
        assert torch.allclose(means[label], features[labels == label].mean(0), atol=1e-6)
    assert counts.tolist() == [7, 7, 6, 0]
    assert torch.equal(means[3], torch.zeros(6))
