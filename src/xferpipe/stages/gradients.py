"""The gradients stage: Gram matrices of per-image gradients and of named layers' features.

A gradient is held as the two factors of `zoo.gradient_factors`, never as a vector of weights. What
is kept is n x n, so that scores, intervals and loss curves need no model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional

from xferpipe import ops
from xferpipe.config.jobs import GradientsJob
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_dataset
from xferpipe.records.tensors import save_tensors
from xferpipe.seeding import stream, torch_generator
from xferpipe.training.compute import prepare
from xferpipe.training.labelled import Labelled, LabelledImages
from xferpipe.training.memory import Pieces
from xferpipe.zoo.build import anatomy_of, classifier_of
from xferpipe.zoo.gradient_factors import Factors, Scalar, batch_factors, last_convolution
from xferpipe.zoo.weights import load_model

BATCH = 64


def gradients(
    job: GradientsJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    weights: Path,
    gradients: Path,
) -> None:
    """Write the Gram matrices that LGC and LFC at named layers are computed from.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the target.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        weights: Weights of the zoo entry.
        gradients: Written: `gram:<variant>` and `layer:<name>` float64 (n, n), of a sketch
            (2, n, n); `labels` and `rows` int64 (n); metadata `seconds` and the layer
            `convolution`.
    Raises:
        DatasetError: The images cannot be used.
        WeightsError: The weights do not fit the architecture.
        ValueError: A layer is none of the model's, or is no convolution or linear layer.
    """
    device = prepare(job.device, job.compute_threads)
    rows, opened = open_dataset(job.dataset, manifest, images, root)
    probe = splits.probe_rows(rows, job.target, job.shots, job.probe, job.seed)
    split = LabelledImages(opened, probe.rows, probe.labels, job.spec, device)
    model = load_model(job.spec, weights).to(device).requires_grad_(False)
    started = time.monotonic()
    content: dict[str, torch.Tensor] = {}
    for scalar in job.gradients.scalars:
        variants = {f"scalar={scalar}": None} | {
            f"scalar={scalar},sketch={kind}": kind for kind in job.gradients.sketches
        }
        for variant, kind in variants.items():
            dimensions = job.gradients.projected_dimensions
            reduce = _gram if kind is None else sketched(kind, dimensions, job.seed)
            gram = gradient_gram_of(model, split, scalar, job.seed, reduce)
            content[f"gram:{variant}"] = gram.cpu()
    for name in job.layers:
        content[f"layer:{name}"] = layer_gram(model, split, name).cpu()
    seconds = time.monotonic() - started
    content["labels"] = split.labels.cpu()
    content["rows"] = torch.as_tensor(probe.rows, dtype=torch.int64)
    metadata = {
        "seconds": repr(seconds),
        "convolution": anatomy_of(model).last_convolution,
        "projected_dimensions": str(job.gradients.projected_dimensions),
    }
    save_tensors(content, metadata, path=gradients)


def _gram(factors: Factors, part: int) -> torch.Tensor:
    return ops.gradient_gram(factors)


def sketched(kind: str, dimensions: int, seed: int) -> Callable[[Factors, int], torch.Tensor]:
    """Project to half of the dimensions twice, independently: LGC tells their noise apart.

    Args:
        kind: A kind of `ops.gradient_sketch`.
        dimensions: Projected dimensions, both halves together.
        seed: Seed of the study.
    Returns:
        From factors and the number of a group of channels to two Gram matrices (2, n, n).
    """

    def reduce(factors: Factors, part: int) -> torch.Tensor:
        halves = []
        for half, size in enumerate((dimensions // 2, dimensions - dimensions // 2)):
            own = stream(seed, "gradients", kind, part, half)
            sketch = ops.gradient_sketch(factors, size, kind=kind, seed=own).double()
            halves.append(sketch @ sketch.T)
        return torch.stack(halves)

    return reduce


def gradient_gram_of(
    model: nn.Module,
    split: Labelled,
    scalar: str,
    seed: int,
    reduce: Callable[[Factors, int], torch.Tensor] = _gram,
) -> torch.Tensor:
    """Return the Gram matrix of per-image gradients by the last convolution's weights.

    Args:
        model: A model of `build_model`, its parameters frozen.
        split: Images.
        scalar: What is differentiated: `logit_sum`; `pseudo_label_loss`, the cross-entropy with
            the head's own top class; `random_head`, a Gaussian head of one output; `ntk_trace`,
            the sum of the Gram matrices of all outputs.
        seed: Seed of the random head.
        reduce: From factors and the number of a group of channels to a Gram matrix, or a stack.
    Returns:
        Inner products, float64 (n, n), or what `reduce` stacks of them.
    Raises:
        ValueError: The layer is no convolution or linear layer that can be unfolded.
    """
    width = classifier_of(model).weight.shape[1]
    if scalar != "ntk_trace":
        return _one_scalar(model, split, _scalar(scalar, width, seed), reduce)
    weight = classifier_of(model).weight
    if channelwise(model, split):
        # Each channel of the convolution reaches one feature alone, so the outputs' Gram matrices
        # add up to that of the features' own gradients, each channel scaled by its column of W.
        norms = weight.norm(dim=0)
        scale = norms.view(1, -1, 1)

        def scaled(factors: Factors, part: int) -> torch.Tensor:
            groups = norms.numel() // factors[0].shape[1]
            own = scale.chunk(groups, dim=1)[part] if groups > 1 else scale
            return reduce((factors[0] * own, factors[1]), part)

        return _one_scalar(model, split, lambda features, _: features.sum(1), scaled)
    outputs = range(weight.shape[0])
    return sum(
        _one_scalar(model, split, lambda _, logits, z=z: logits[:, z], reduce) for z in outputs
    )


def _scalar(name: str, width: int, seed: int) -> Scalar:
    if name == "logit_sum":
        return lambda _, logits: logits.sum(1)
    if name == "pseudo_label_loss":
        return lambda _, logits: functional.cross_entropy(
            logits, logits.argmax(1), reduction="none"
        )
    if name == "random_head":
        head = torch.randn(width, generator=torch_generator(seed, "gradients", "head"))
        return lambda features, _: features @ head.to(features) / width**0.5
    raise ValueError(
        f"scalar is {name!r}; allowed: ntk_trace, logit_sum, pseudo_label_loss, random_head"
    )


def _one_scalar(
    model: nn.Module,
    split: Labelled,
    scalar: Scalar,
    reduce: Callable[[Factors, int], torch.Tensor],
) -> torch.Tensor:
    passes = Pieces()
    parts = [
        part
        for images, _ in split.evaluation(BATCH)
        for part in passes.map(lambda some: batch_factors(model, some, scalar), images)
    ]
    outputs, patches = (torch.cat(part) for part in zip(*parts, strict=True))
    groups = getattr(last_convolution(model), "groups", 1)
    pieces = zip(outputs.chunk(groups, dim=1), patches.chunk(groups, dim=1), strict=True)
    # Groups of channels share no weight: their inner products add up.
    return sum(reduce(piece, part) for part, piece in enumerate(pieces))


def channelwise(model: nn.Module, split: Labelled) -> bool:
    """Tell whether each channel of the last convolution reaches one feature, its own.

    Measured on a few images: the gradient of a weighted sum of the features must be that of their
    plain sum, channel by channel times the weight.
    """
    images, _ = next(iter(split.evaluation(4)))
    plain, _ = batch_factors(model, images, lambda features, _: features.sum(1))
    width = classifier_of(model).weight.shape[1]
    if plain.shape[1] != width:
        return False
    weights = torch.linspace(-1, 2, width, device=plain.device, dtype=plain.dtype)
    weighted, _ = batch_factors(model, images, lambda features, _: features @ weights)
    expected = plain * weights.view(1, -1, 1)
    return torch.allclose(weighted, expected, rtol=1e-4, atol=1e-6 * float(plain.abs().max()))


@torch.no_grad()
def layer_gram(model: nn.Module, split: Labelled, name: str) -> torch.Tensor:
    """Return the Gram matrix of a layer's outputs, all positions of a map included.

    Args:
        model: A model, in evaluation mode.
        split: Images.
        name: Name of the layer, as in `model.named_modules()`.
    Returns:
        Inner products, float64 (n, n).
    Raises:
        ValueError: The model has no such layer.
    """
    layers = dict(model.named_modules())
    if name not in layers:
        raise ValueError(
            f"layers: {name!r} is no layer of {type(model).__name__}; allowed: "
            f"{', '.join(known for known in layers if known)}"
        )
    kept: list[torch.Tensor] = []
    handle = layers[name].register_forward_hook(
        lambda module, inputs, made: kept.append(made.flatten(1).float().cpu())
    )
    passes = Pieces()

    def outputs(images: torch.Tensor) -> torch.Tensor:
        model(images)
        return kept.pop()

    # Early layers have a million outputs an image: the matrix lies on disk and is read in blocks.
    with tempfile.TemporaryFile() as file:
        table: numpy.memmap | None = None
        start = 0
        try:
            for images, _ in split.evaluation(BATCH):
                values = torch.cat(passes.map(outputs, images)).numpy()
                if table is None:
                    shape = (len(split), values.shape[1])
                    table = numpy.memmap(file, dtype=numpy.float32, mode="w+", shape=shape)
                table[start : start + len(values)] = values
                start += len(values)
        finally:
            handle.remove()
        return ops.gradient_gram(table)
