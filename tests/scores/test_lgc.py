"""LGC against autograd, and its linearised figures against matrix functions."""

from __future__ import annotations

import numpy
import pytest
import scipy.linalg
import torch
from probe_data import CASES
from torch import nn
from torch.nn import functional

from xferpipe import gradients, ops, scores
from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import anatomy_of, build_model, classifier_of

SPEC = {"width": 4, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Images:
    """Eight small images, as a split gives them."""

    device = torch.device("cpu")

    def __init__(self, px: int) -> None:
        self.images = torch.randn((8, 3, px, px), generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.images)

    def evaluation(self, size: int):
        for start in range(0, len(self), size):
            yield self.images[start : start + size], None


def model_of(architecture: str, outputs: int = 5) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(ModelSpec(architecture=architecture, **SPEC), outputs).eval()
    # Fresh batch norms scale by one: draw statistics, so that every channel differs.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
    return model


def naive_gram(model: nn.Module, images: torch.Tensor, scalar: str) -> numpy.ndarray:
    """Differentiate image by image, output by output, by the layer's whole weight."""
    weight = model.get_submodule(anatomy_of(model).last_convolution).weight.requires_grad_()
    grams = 0
    outputs = classifier_of(model).weight.shape[0] if scalar == "ntk_trace" else 1
    for z in range(outputs):
        rows = []
        for image in images:
            logits = model(image[None]).flatten(1)
            if scalar == "ntk_trace":
                value = logits[0, z]
            elif scalar == "logit_sum":
                value = logits.sum()
            else:
                value = functional.cross_entropy(logits, logits.argmax(1))
            rows.append(torch.autograd.grad(value, weight)[0].flatten().double())
        table = torch.stack(rows)
        grams = grams + (table @ table.T).numpy()
    return grams


MODELS = [("cifar_resnet8", 16), ("densenet121", 32), ("mobilenet_v2", 32)]


@pytest.mark.parametrize("scalar", ["ntk_trace", "logit_sum", "pseudo_label_loss"])
@pytest.mark.parametrize(("architecture", "px"), MODELS)
def test_gram_from_factors_is_that_of_whole_gradients(
    architecture: str, px: int, scalar: str
) -> None:
    model, split = model_of(architecture), Images(px)
    expected = naive_gram(model, split.images, scalar)
    found = gradients.gradient_gram_of(model, split, scalar, seed=0).numpy()
    assert numpy.abs(found - expected).max() <= 1e-5 * numpy.abs(expected).max()


def test_gram_of_a_transformer_is_by_its_last_linear_layer() -> None:
    torch.manual_seed(0)
    name = "timm:vit_tiny_patch16_224"
    model = build_model(ModelSpec(architecture=name, **SPEC), 3).eval()
    split = Images(224)
    split.images = split.images[:3]
    expected = naive_gram(model, split.images, "ntk_trace")
    found = gradients.gradient_gram_of(model, split, "ntk_trace", seed=0).numpy()
    assert not gradients.channelwise(model, split)
    assert numpy.abs(found - expected).max() <= 1e-5 * numpy.abs(expected).max()


def test_ntk_trace_shortcut_is_taken_where_channels_do_not_mix() -> None:
    assert gradients.channelwise(model_of("cifar_resnet8"), Images(16))
    # The last 3x3 of a DenseNet feeds 32 of 1,024 channels.
    assert not gradients.channelwise(model_of("densenet121"), Images(32))


@pytest.mark.parametrize("kind", ["kronecker", "sparse", "srht", "rademacher", "gaussian"])
def test_sketched_gram_over_seeds_averages_to_the_exact_one(kind: str) -> None:
    model, split = model_of("cifar_resnet8"), Images(16)
    exact = gradients.gradient_gram_of(model, split, "logit_sum", seed=0)

    def mean_of(draws: int) -> torch.Tensor:
        total = torch.zeros_like(exact)
        for seed in range(draws):

            def reduce(factors, part, seed=seed):
                sketch = ops.gradient_sketch(factors, 256, kind=kind, seed=seed).double()
                return sketch @ sketch.T

            total += gradients.gradient_gram_of(model, split, "logit_sum", 0, reduce)
        return total / draws

    # Entries of one sketch err by |g_i| |g_j| / sqrt(256), of a Kronecker one by up to 1 / sqrt(16)
    # where gradients are near rank one; the mean of the draws errs by their root less.
    draws = 400 if kind == "kronecker" else 40
    scale = exact.diagonal().sqrt()
    error = (mean_of(draws) - exact).abs() / (scale[:, None] * scale)
    assert error.max() < 0.08
    assert error.mean() < 0.03


def test_random_head_depends_on_its_seed_alone() -> None:
    model, split = model_of("cifar_resnet8"), Images(16)
    first, again, other = (
        gradients.gradient_gram_of(model, split, "random_head", seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_layer_gram_is_of_all_positions() -> None:
    model, split = model_of("cifar_resnet8"), Images(16)
    seen = []
    layer = model.get_submodule(anatomy_of(model).stem)
    layer.register_forward_hook(lambda module, inputs, made: seen.append(made.flatten(1)))
    model(split.images)
    expected = (seen[0].double() @ seen[0].double().T).detach()
    seen.clear()
    found = gradients.layer_gram(model, split, anatomy_of(model).stem)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_layer_gram_of_an_unknown_layer_names_the_layers() -> None:
    with pytest.raises(ValueError, match=r"'layer9' is no layer .*conv1"):
        gradients.layer_gram(model_of("cifar_resnet8"), Images(16), "layer9")


@pytest.fixture
def gram() -> numpy.ndarray:
    factor = numpy.random.default_rng(2).standard_normal((len(CASES["tall"].labels), 60))
    return factor @ factor.T / 60


def test_lgc_and_its_linearised_figures_against_matrix_functions(gram: numpy.ndarray) -> None:
    labels = CASES["tall"].labels
    n = len(labels)
    hot = numpy.eye(labels.max() + 1)[labels]
    kernel = numpy.where(labels[:, None] == labels, 1.0, -1.0)
    found = scores.lgc({"scalar=logit_sum": gram}, labels, learning_rate=0.3, steps=(1, 50))

    def close(name: str, expected: float) -> None:
        assert found[f"scalar=logit_sum{name}"] == pytest.approx(expected, rel=1e-6)

    close("", numpy.corrcoef(gram.ravel(), kernel.ravel())[0, 1])
    close(",unnormalised", (gram * kernel).sum())
    close(",first_order", numpy.trace(hot.T @ gram @ hot) / n**2)
    close(",bound", -numpy.trace(hot.T @ numpy.linalg.inv(gram) @ hot) / n)
    for step in (1, 50):
        decay = scipy.linalg.expm(-2 * 0.3 * gram * step / n)
        close(f",loss_at={step}", -numpy.trace(hot.T @ decay @ hot) / n)


def test_first_order_is_the_slope_of_gradient_descent(gram: numpy.ndarray) -> None:
    labels = CASES["tall"].labels
    hot = numpy.eye(labels.max() + 1)[labels]
    n, rate = len(labels), 1e-4
    outputs = numpy.zeros_like(hot)
    outputs = outputs + 2 * rate / n * gram @ (hot - outputs)
    fall = ((hot**2).sum() - ((hot - outputs) ** 2).sum()) / n
    found = scores.lgc({"scalar=logit_sum": gram}, labels)["scalar=logit_sum,first_order"]
    assert fall / (4 * rate) == pytest.approx(found, rel=1e-3)


def test_bound_without_an_inverse_is_null_with_a_reason() -> None:
    flat = numpy.outer(numpy.arange(1.0, 46), numpy.arange(1.0, 46))
    table = scores.compute(
        CASES["tall"].features, CASES["tall"].labels, ["lgc"], gradient_grams={"scalar=x": flat}
    )
    values = dict(zip(table["variant"], table["value"], strict=True))
    reasons = dict(zip(table["variant"], table["reason"], strict=True))
    assert values["scalar=x,bound"] is None
    assert "no inverse" in reasons["scalar=x,bound"]
    assert values["scalar=x"] is not None
