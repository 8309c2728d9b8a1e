"""Multi-domain experts: one body, one classifier per domain, and what else is a domain's own.

`shared` has nothing else, `multi_bn` gives each domain its batch norms (running statistics, scale
and shift), `adapter` these and parallel 1x1 adapters. A domain is taken out as an ordinary model.

Source:
    Rebuffi et al., CVPR 2018 (adapters); the three variants as in arXiv 2102.00084.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from xferpipe.zoo.anatomy import set_module
from xferpipe.zoo.build import anatomy_of, classifier_of, replace_classifier
from xferpipe.zoo.updates import ParallelAdapter, add_adapters, merge


class Selected(nn.Module):
    """One module for each domain, of which `active` is used."""

    def __init__(self, choices: Sequence[nn.Module]) -> None:
        super().__init__()
        self.choices = nn.ModuleList(choices)
        self.active = 0

    @property
    def chosen(self) -> nn.Module:
        """Return the module of the active domain."""
        return self.choices[self.active]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pass through the active domain's module."""
        return self.chosen(x)


class SelectedClassifier(Selected):
    """One classifier for each domain, looking like the active one from outside."""

    @property
    def weight(self) -> torch.Tensor:
        """Return the active classifier's weight, float (c, d)."""
        return self.chosen.weight

    @property
    def in_features(self) -> int:
        """Return d."""
        return self.chosen.in_features

    @property
    def out_features(self) -> int:
        """Return the active domain's c."""
        return self.chosen.out_features


def make_expert(model: nn.Module, mode: str, classes: Sequence[int], *, seed: int) -> None:
    """Turn a model into a multi-domain expert, in place.

    Args:
        model: A model of `build_model` with a linear classifier; each domain starts from it.
        mode: `shared`, `multi_bn` or `adapter`.
        classes: Classes of each domain.
        seed: Seed of the new classifiers.
    Raises:
        ValueError: The mode needs layers that the model lacks.
    """
    heads = []
    for domain, outputs in enumerate(classes):
        replace_classifier(model, outputs, seed=seed + domain)
        heads.append(classifier_of(model))
    set_module(model, anatomy_of(model).classifier, SelectedClassifier(heads))
    if mode == "shared":
        return
    norms = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    if not norms:
        raise ValueError(
            f"mode {mode} gives each domain its batch norms, but {type(model).__name__} has none; "
            "allowed for it: shared"
        )
    for name, norm in norms:
        set_module(model, name, Selected([copy.deepcopy(norm) for _ in classes]))
    if mode == "adapter":
        add_adapters(model, len(classes))


def set_domain(model: nn.Module, domain: int) -> None:
    """Make a domain's modules the active ones."""
    for module in model.modules():
        if isinstance(module, Selected | ParallelAdapter):
            module.active = domain


def take_domain(model: nn.Module, domain: int) -> nn.Module:
    """Return a domain of an expert as an ordinary model with plain names, a copy."""
    model = copy.deepcopy(model)
    set_domain(model, domain)
    for name, module in list(model.named_modules()):
        if isinstance(module, Selected):
            set_module(model, name, module.chosen)
    return merge(model).eval()
