"""LGC against autograd, and its linearised figures against matrix functions."""

from __future__ import annotations

import numpy
import pytest
import scipy.linalg
import torch
from probe_data import CASES
from torch import nn
from torch.nn import functional

from xferpipe import ops, scores
from xferpipe.config.jobs import ModelSpec
from xferpipe.scores import label_gradient
from xferpipe.stages import gradients
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


KINDS = ["kronecker", "sparse", "srht", "rademacher", "gaussian"]


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.fixture(scope="module")
def factors() -> tuple[gradients.Factors, numpy.ndarray]:
    """Factors of 36 gradients in three classes, and their labels."""
    r = torch.Generator().manual_seed(5)
    labels = numpy.arange(36) % 3

    def draw(channels: int) -> torch.Tensor:
        own = torch.randn((36, channels, 5), generator=r)
        return own + 0.6 * torch.randn((3, channels, 5), generator=r)[torch.from_numpy(labels)]

    return (draw(12), draw(20)), labels


@pytest.mark.parametrize("kind", KINDS)
def test_corrected_score_of_a_sketch_is_nearer_to_the_exact_one(factors, kind: str) -> None:
    pair, labels = factors
    exact = scores.lgc({"": ops.gradient_gram(pair).numpy()}, labels)[""]
    raw, corrected = [], []
    for seed in range(150):
        halves = gradients.sketched(kind, 128, seed)(pair, 0).numpy()
        found = scores.lgc({"s": halves}, labels)
        assert found["s"] == pytest.approx(scores.lgc({"": halves.mean(axis=0)}, labels)[""])
        raw.append(found["s"] - exact)
        corrected.append(found["s,corrected"] - exact)
    noise = numpy.std(corrected) / len(corrected) ** 0.5
    assert numpy.mean(raw) < -10 * noise, "the case must show the bias"
    assert abs(numpy.mean(corrected)) < 0.2 * abs(numpy.mean(raw))
    assert numpy.mean(numpy.abs(corrected)) < 0.75 * numpy.mean(numpy.abs(raw))


@pytest.mark.parametrize("kind", KINDS)
def test_product_of_independent_halves_has_no_square_of_noise(factors, kind: str) -> None:
    pair, _ = factors
    exact = float((ops.gradient_gram(pair) ** 2).sum())
    draws = [gradients.sketched(kind, 128, seed)(pair, 0) for seed in range(200)]
    product = numpy.array([float((first * second).sum()) for first, second in draws]) / exact
    square = numpy.array([float((halves.mean(0) ** 2).sum()) for halves in draws]) / exact
    error = product.std() / len(draws) ** 0.5
    assert abs(product.mean() - 1) < 4 * error
    assert square.mean() - 1 > 10 * error


def test_corrected_score_hidden_by_noise_is_null_with_a_reason() -> None:
    labels = CASES["tall"].labels
    noise = numpy.random.default_rng(0).standard_normal((len(labels), len(labels)))
    table = scores.compute(
        CASES["tall"].features,
        labels,
        ["lgc"],
        gradient_grams={"scalar=x,sketch=y": numpy.stack([noise, -noise])},
    )
    row = table.filter(variant="scalar=x,sketch=y,corrected").row(0, named=True)
    assert row["value"] is None
    assert "projection noise" in row["reason"]


def test_bootstrap_draws_of_a_sketch_are_those_of_repeated_images(factors) -> None:
    from xferpipe.scores.bootstrap import counts_of

    pair, labels = factors
    halves = gradients.sketched("gaussian", 400, 0)(pair, 0).numpy()
    counts = counts_of(labels, 6, seed=3)
    found = label_gradient.lgc_draws({"s": halves}, labels, counts)
    for draw, weights in enumerate(counts):
        rows = numpy.repeat(numpy.arange(len(weights)), weights)
        taken = halves[:, rows[:, None], rows]
        expected = scores.lgc({"s": taken}, labels[rows])
        for variant in ("s", "s,corrected"):
            assert found[variant][draw] == pytest.approx(expected[variant], rel=1e-6)


def test_sketch_of_another_size_than_the_labels_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(2, 44, 44\) from two independent sketches"):
        scores.lgc({"s": numpy.ones((2, 45, 44))}, numpy.arange(44) % 2)


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
