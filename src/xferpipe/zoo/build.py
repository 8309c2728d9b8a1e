"""Building models: any architecture by name, with its parts named and its classifier replaced."""

from __future__ import annotations

import importlib
import warnings

import torch
from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.zoo import architecture_family, options_misfit
from xferpipe.seeding import stream
from xferpipe.zoo.anatomy import Anatomy, set_module


def build_model(spec: ModelSpec, outputs: int, *, seed: int = 0) -> nn.Module:
    """Build an architecture with fresh weights drawn from the stream (seed, "weights").

    Args:
        spec: Architecture and its options.
        outputs: Classes of the classifier; 0 for a model that has learned none.
        seed: Seed of the weights.
    Returns:
        The model; `anatomy_of(model)` names its parts.
    Raises:
        ValueError: The family does not know the architecture, or has no place for an option.
    """
    if misfit := options_misfit(spec.architecture, norm=spec.norm, block_order=spec.block_order):
        raise ValueError(misfit)
    family = importlib.import_module(
        f"xferpipe.zoo.architectures.{architecture_family(spec.architecture)}"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "weights"))
        model = family.build(spec, max(outputs, 1))
        model.anatomy = family.anatomy(model, spec.architecture)
        if outputs == 0:
            replace_classifier(model, 0)
    return model


def anatomy_of(model: nn.Module) -> Anatomy:
    """Return the names of the parts of a model that `build_model` built.

    Raises:
        ValueError: The model comes from elsewhere.
    """
    found = getattr(model, "anatomy", None)
    if not isinstance(found, Anatomy):
        raise ValueError(
            f"{type(model).__name__} has no anatomy; expected a model of zoo.build.build_model"
        )
    return found


def classifier_of(model: nn.Module) -> nn.Module:
    """Return the last linear layer, or what stands for it; its input is the feature vector."""
    return model.get_submodule(anatomy_of(model).classifier)


def feature_dimension(model: nn.Module) -> int:
    """Return d, the width of the classifier's input."""
    classifier = classifier_of(model)
    return getattr(classifier, "in_features", None) or classifier.in_channels


def outputs_of(model: nn.Module) -> int:
    """Return the number of classes that the classifier tells apart."""
    classifier = classifier_of(model)
    return classifier.out_channels if isinstance(classifier, nn.Conv2d) else classifier.out_features


def replace_classifier(
    model: nn.Module, outputs: int, *, seed: int | None = None, zero: bool = False
) -> None:
    """Put a fresh classifier in the place of the old one; everything before it stays.

    Args:
        model: A model of `build_model`.
        outputs: Classes of the new classifier.
        seed: Draw its weights from the stream (seed, "classifier"); None draws from torch's
            current state.
        zero: Start from zeros (BiT) instead of torch's default.
    """
    old = classifier_of(model)
    with torch.random.fork_rng(devices=[], enabled=seed is not None), warnings.catch_warnings():
        # A model without classes has an empty classifier; torch warns that it cannot draw it.
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        if seed is not None:
            torch.manual_seed(stream(seed, "classifier"))
        if isinstance(old, nn.Conv2d):
            new = nn.Conv2d(old.in_channels, outputs, 1, bias=old.bias is not None)
        else:
            new = nn.Linear(old.in_features, outputs, bias=old.bias is not None)
        if zero:
            for parameter in new.parameters():
                nn.init.zeros_(parameter)
    set_module(model, anatomy_of(model).classifier, new.to(old.weight.device))
