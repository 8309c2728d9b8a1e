"""Heads, stride, stem, pooling, low-rank and parallel updates."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.surgery import Lora, Surgery
from xferpipe.zoo.build import anatomy_of, build_model, feature_dimension
from xferpipe.zoo.feature_pass import features_and_logits
from xferpipe.zoo.surgery import GeneralisedMean, operate
from xferpipe.zoo.updates import add_lora, merge
from xferpipe.zoo.weights import load_model, save_weights


def spec(architecture: str, **options) -> ModelSpec:
    return ModelSpec(
        architecture=architecture, **{"width": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3, **options}
    )


@pytest.mark.parametrize(
    ("head", "dimension"), [("linear", 512), ("fc512", 512), ("bnneck", 512), (None, 512)]
)
def test_head_has_its_parts_and_width(head, dimension):
    model = build_model(spec("resnet18"), 9)
    operate(model, Surgery(head=head), outputs=4, seed=0)
    features, logits = features_and_logits(model.eval(), torch.randn(2, 3, 64, 64))
    assert (features.shape, logits.shape) == ((2, dimension), (2, 4))
    kinds = [type(layer).__name__ for layer in model.fc.children()]
    assert kinds == {
        "fc512": ["Linear", "BatchNorm1d", "ReLU", "Linear"],
        "bnneck": ["BatchNorm1d", "Linear"],
    }.get(head, [])


def test_fc512_features_are_its_own_and_bnneck_compares_those_before_the_norm():
    narrow = build_model(spec("cifar_resnet8"), 9)
    operate(narrow, Surgery(head="fc512", head_width=20), outputs=4, seed=0)
    assert feature_dimension(narrow) == 20
    neck = build_model(spec("cifar_resnet8"), 9)
    operate(neck, Surgery(head="bnneck"), outputs=4, seed=0)
    assert anatomy_of(neck).metric == "fc"
    assert anatomy_of(neck).classifier == "fc.classifier"
    assert neck.fc.classifier.bias is None


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_last_stride_doubles_the_side_of_the_last_maps(architecture):
    model = build_model(spec(architecture), 3).eval()
    sides = []
    model.layer4.register_forward_hook(lambda m, i, o: sides.append(o.shape[-1]))
    model(torch.zeros(1, 3, 64, 64))
    operate(model, Surgery(last_stride=1), outputs=3, seed=0)
    model(torch.zeros(1, 3, 64, 64))
    assert sides == [2, 4]


def test_small_image_stem_keeps_the_side():
    model = build_model(spec("resnet18"), 3).eval()
    operate(model, Surgery(stem="small_image"), outputs=3, seed=0)
    sides = []
    model.layer1.register_forward_hook(lambda m, i, o: sides.append(o.shape[-1]))
    model(torch.zeros(1, 3, 32, 32))
    assert sides == [32]
    assert (model.conv1.kernel_size, model.conv1.stride) == ((3, 3), (1, 1))


@pytest.mark.parametrize("zero", [True, False])
def test_zero_head_starts_at_nothing(zero):
    model = build_model(spec("cifar_resnet8"), 9)
    operate(model, Surgery(zero_head=zero), outputs=4, seed=0)
    assert (not model.fc.weight.any(), not model.fc.bias.any()) == (zero, zero)


def test_new_layers_are_drawn_by_the_seed():
    drawn = []
    for seed in (0, 0, 1):
        model = build_model(spec("cifar_resnet8"), 9)
        operate(model, Surgery(head="fc512", head_width=8), outputs=4, seed=seed)
        drawn.append(model.fc.fc.weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_generalised_mean_equals_its_formula_and_its_limits():
    maps = torch.rand(2, 5, 3, 4) + 0.1
    pool = GeneralisedMean(2.5)
    expected = maps.pow(2.5).mean((2, 3)).pow(1 / 2.5)
    assert torch.allclose(pool(maps).flatten(1), expected, atol=1e-6)
    assert torch.allclose(GeneralisedMean(1.0)(maps).flatten(1), maps.mean((2, 3)), atol=1e-6)
    assert torch.allclose(GeneralisedMean(200.0)(maps).flatten(1), maps.amax((2, 3)), rtol=0.02)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("cifar_resnet8", Surgery(last_stride=1), "layer4"),
        ("cifar_resnet8", Surgery(stem="small_image"), "stem"),
        ("vgg11", Surgery(pooling="gem"), "pooling"),
        ("timm:resnetv2_50x1_bit", Surgery(head="fc512"), "convolution"),
        ("vgg11", Surgery(lora=Lora(kinds=("attention",))), "lora"),
    ],
)
def test_surgery_that_a_model_cannot_have_is_an_error(architecture, options, message):
    with pytest.raises(ValueError, match=message):
        operate(build_model(spec(architecture), 3), options, outputs=3, seed=0)


@pytest.mark.parametrize(
    ("architecture", "kinds", "px"),
    [
        ("cifar_resnet8", ("convolution",), 16),
        ("resnet18", ("convolution", "linear"), 32),
        ("timm:vit_tiny_patch16_224", ("linear",), 224),
        ("timm:vit_tiny_patch16_224", ("attention",), 224),
    ],
)
def test_lora_starts_at_the_base_model_and_merges(architecture, kinds, px):
    model = build_model(spec(architecture), 5, seed=3).eval()
    operate(model, None, outputs=5, seed=0)
    base = copy.deepcopy(model)
    images = torch.randn(2, 3, px, px)
    operate(model, Surgery(lora=Lora(rank=4, kinds=kinds)), outputs=5, seed=0)
    assert torch.equal(model(images), base(images))
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(parameter, std=0.02)
    trained = model(images)
    assert (trained - base(images)).abs().max() > 1e-4
    merge(model)
    assert set(model.state_dict()) == set(base.state_dict())
    assert torch.allclose(model(images), trained, atol=1e-5)


def test_lora_of_kind_attention_updates_timms_projections_alone():
    model = build_model(spec("timm:vit_tiny_patch16_224"), 5)
    add_lora(model, Lora(rank=2, kinds=("attention",)))
    updated = {name.partition(".parametrizations")[0] for name, _ in model.named_parameters()
               if ".parametrizations" in name}  # fmt: skip
    assert updated == {f"blocks.{i}.attn.qkv" for i in range(12)}


def test_lora_of_torchvisions_attention_starts_at_the_base_model_and_merges():
    from torchvision.models import VisionTransformer

    from xferpipe.zoo.architectures import torchvision_models

    torch.manual_seed(0)
    model = VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64).eval()
    nn.init.normal_(model.heads.head.weight)
    model.anatomy = torchvision_models.anatomy(model, "vit")
    assert model.anatomy.last_convolution == "encoder.layers.encoder_layer_1.mlp.3"
    base = copy.deepcopy(model)
    images = torch.randn(2, 3, 32, 32)
    add_lora(model, Lora(rank=4, kinds=("attention",)))
    assert torch.equal(model(images), base(images))
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(parameter)
    trained = model(images)
    assert (trained - base(images)).abs().max() > 1e-3
    merge(model)
    assert set(model.state_dict()) == set(base.state_dict())
    assert torch.allclose(model(images), trained, atol=1e-5)


def test_adapters_equal_convolutions_beside_and_merge():
    model = build_model(spec("cifar_resnet8"), 5, seed=3).eval()
    operate(model, None, outputs=5, seed=0)
    base = copy.deepcopy(model)
    images = torch.randn(2, 3, 16, 16)
    operate(model, Surgery(adapters=True), outputs=5, seed=0)
    assert torch.equal(model(images), base(images))
    conv = model.layer2[0].conv1
    kernel = conv.parametrizations.weight[0].kernels[0]
    nn.init.normal_(kernel)
    maps = torch.randn(2, 8, 10, 10)
    beside = nn.functional.conv2d(maps, kernel[:, :, None, None], stride=conv.stride)
    plain = base.layer2[0].conv1(maps)
    assert torch.allclose(conv(maps), plain + beside, atol=1e-4)
    trained = model(images)
    merge(model)
    assert torch.allclose(model(images), trained, atol=1e-5)


@pytest.mark.parametrize(
    "surgery",
    [
        Surgery(head="fc512", head_width=16, last_stride=1, stem="small_image"),
        Surgery(head="bnneck", pooling="gem"),
        Surgery(zero_head=True),
    ],
)
def test_saved_surgery_is_rebuilt_from_the_file_alone(tmp_path, surgery):
    model = build_model(spec("resnet18"), 9)
    operate(model, surgery, outputs=4, seed=0)
    save_weights(model.eval(), tmp_path / "w.safetensors")
    again = load_model(spec("resnet18"), tmp_path / "w.safetensors")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(again(images), model(images), rtol=1e-4, atol=1e-5)
    assert anatomy_of(again) == anatomy_of(model)


def test_second_surgery_replaces_the_head_and_keeps_the_rest(tmp_path):
    model = build_model(spec("resnet18"), 9)
    operate(model, Surgery(head="fc512", stem="small_image"), outputs=4, seed=0)
    operate(model, Surgery(head="bnneck"), outputs=6, seed=0)
    assert feature_dimension(model) == 512
    assert [type(layer).__name__ for layer in model.fc] == ["BatchNorm1d", "Linear"]
    assert model.surgery["stem"] == "small_image"
    operate(model, None, outputs=3, seed=0)
    assert model.fc.classifier.out_features == 3


def test_linear_head_of_a_convolutional_classifier_is_a_fresh_one_of_its_kind(tmp_path):
    """The one head that the error for the others allows there."""
    model = build_model(spec("timm:resnetv2_50x1_bit"), 9)
    with pytest.raises(ValueError, match="allowed for it: linear"):
        operate(model, Surgery(head="fc512"), outputs=4, seed=0)
    operate(model, Surgery(head="linear"), outputs=4, seed=0)
    save_weights(model, tmp_path / "w.safetensors")
    again = load_model(spec("timm:resnetv2_50x1_bit"), tmp_path / "w.safetensors")
    images = torch.randn(1, 3, 32, 32)
    assert again(images).shape == (1, 4)
    assert torch.equal(again(images), model.eval()(images))
