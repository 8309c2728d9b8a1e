"""Architectures: published sizes, orders of blocks, normalisations, names of parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import anatomy_of, build_model, feature_dimension, replace_classifier
from xferpipe.zoo.feature_pass import features_and_logits
from xferpipe.zoo.normalisation import StandardisedConvolution


def spec(architecture: str, **options) -> ModelSpec:
    return ModelSpec(
        architecture=architecture, **{"width": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3, **options}
    )


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("depth", "millions"),
    # He et al. 2016, table 6 (20 ... 110) and arXiv 1603.05027, table 4 (164: 1.7 million).
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7), (164, 1.7)],
)
def test_cifar_resnet_has_the_published_number_of_parameters(depth, millions):
    count = parameters(build_model(spec(f"cifar_resnet{depth}"), 10)) / 1e6
    assert count == pytest.approx(millions, rel=0.03)


@pytest.mark.parametrize("name", ["cifar_resnet9", "cifar_resnet2", "cifar_resnet165", "cifar_x"])
def test_cifar_resnet_of_an_impossible_depth_is_an_error(name):
    with pytest.raises(ValueError, match="cifar_"):
        build_model(spec(name), 10)


def block_by_hand(block, x: torch.Tensor, order: str) -> torch.Tensor:
    """Transcribe figure 4 of arXiv 1603.05027 for two convolutions."""
    relu = torch.relu
    if order == "original":
        return relu(block.bn2(block.conv2(relu(block.bn1(block.conv1(x))))) + x)
    if order == "norm_after_addition":
        return relu(block.bn2(block.conv2(relu(block.bn1(block.conv1(x)))) + x))
    if order == "relu_before_addition":
        return relu(block.bn2(block.conv2(relu(block.bn1(block.conv1(x)))))) + x
    return block.conv2(relu(block.bn2(block.conv1(relu(block.bn1(x)))))) + x


@pytest.mark.parametrize(
    "order", ["original", "norm_after_addition", "relu_before_addition", "preactivation"]
)
def test_block_order_equals_the_papers_figure(order):
    model = build_model(spec("cifar_resnet8", block_order=order), 10).eval()
    block = model.layer1[0]
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 16, 6, 6)
    assert torch.allclose(block(x), block_by_hand(block, x, order), atol=1e-6)


def test_standardised_convolution_has_filters_of_mean_zero_and_variance_one():
    conv = StandardisedConvolution(5, 4, 3, bias=False)
    patches = torch.eye(45).view(45, 5, 3, 3)
    filters = conv(patches).view(45, 4)
    assert torch.allclose(filters.mean(0), torch.zeros(4), atol=1e-6)
    assert torch.allclose(filters.var(0, correction=0), torch.ones(4), atol=1e-4)


@pytest.mark.parametrize("norm", ["group", "group_ws"])
@pytest.mark.parametrize("architecture", ["cifar_resnet8", "resnet18"])
def test_normalisation_ablation_has_no_batch_statistics(architecture, norm):
    model = build_model(spec(architecture, norm=norm), 10)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    standardised = [m for m in model.modules() if isinstance(m, StandardisedConvolution)]
    assert bool(standardised) == (norm == "group_ws")
    batch = torch.randn(3, 3, 32, 32)
    assert torch.allclose(model(batch)[:1], model(batch[:1]), atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("vgg11", {"norm": "group"}, "norm: group is for ResNets"),
        ("timm:resnet10t", {"norm": "group_ws"}, "not timm:resnet10t"),
        ("resnet18", {"block_order": "preactivation"}, "block_order: preactivation"),
        ("timm:resnet10t", {"block_order": "preactivation"}, "allowed there: original"),
    ],
)
def test_option_that_a_family_lacks_is_an_error(architecture, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(spec(architecture, **options), 10)


@pytest.mark.parametrize(
    ("architecture", "dimension", "last", "stages"),
    # Feature widths and last convolutions of the published models.
    [
        ("cifar_resnet20", 64, "layer3.2.conv2", 3),
        ("resnet18", 512, "layer4.1.conv2", 4),
        ("vgg11_bn", 4096, "features.25", 5),
        ("densenet121", 1024, "features.denseblock4.denselayer16.conv2", 4),
        ("mobilenet_v3_small", 1024, "features.12.0", 12),
        ("timm:resnet18", 512, "layer4.1.conv2", 4),
        ("timm:vit_tiny_patch16_224", 192, "blocks.11.mlp.fc2", 12),
        # Its `stages` is a method, and none of its blocks.
        ("timm:hrnet_w18_small", 2048, "final_layer.0", 1),
    ],
)
def test_anatomy_names_the_feature_and_gradient_layers(architecture, dimension, last, stages):
    model = build_model(spec(architecture), 7).eval()
    anatomy = anatomy_of(model)
    assert (anatomy.last_convolution, len(anatomy.stages)) == (last, stages)
    assert feature_dimension(model) == dimension
    px = 32 if "cifar" in architecture else 224
    images = torch.randn(2, 3, px, px)
    features, logits = features_and_logits(model, images)
    assert features.shape == (2, dimension)
    assert torch.equal(logits, model(images))
    classifier = model.get_submodule(anatomy.classifier)
    assert torch.allclose(classifier(features), logits, atol=1e-5)


def test_bit_features_are_those_of_a_convolutional_head():
    model = build_model(spec("timm:resnetv2_50x1_bit"), 5).eval()
    features, logits = features_and_logits(model, torch.randn(1, 3, 64, 64))
    assert (features.shape, logits.shape) == ((1, 2048), (1, 5))
    assert anatomy_of(model).last_convolution == "stages.3.blocks.2.conv3"
    replace_classifier(model, 3, seed=0, zero=True)
    assert torch.equal(model(torch.randn(1, 3, 64, 64)), torch.zeros(1, 3))


@pytest.mark.parametrize("name", ["resnet17", "timm:no_such_model"])
def test_unknown_architecture_is_an_error_that_names_near_ones(name):
    with pytest.raises(ValueError, match="unknown architecture"):
        build_model(spec(name), 10)


def test_model_without_a_feature_vector_is_refused():
    with pytest.raises(ValueError, match="classifies by a convolution"):
        build_model(spec("squeezenet1_1"), 10)


def test_seed_decides_the_weights_and_leaves_torchs_own_stream_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second, other = (build_model(spec("cifar_resnet8"), 4, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_model_without_classes_gives_features_and_empty_logits():
    model = build_model(spec("cifar_resnet8"), 0).eval()
    features, logits = features_and_logits(model, torch.randn(2, 3, 16, 16))
    assert (features.shape, logits.shape) == ((2, 64), (2, 0))
