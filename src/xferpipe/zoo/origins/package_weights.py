"""Weights that an installed Python package brings: one file of tensors."""

from __future__ import annotations

from typing import Any

from torch import nn

from xferpipe.config.jobs import ModelSpec
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.package_files import package_weights
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.weights import WeightsError


def load(spec: ModelSpec, name: str, **options: Any) -> tuple[nn.Module, dict[str, object]]:
    """Return a model with the weights of a package, which is not imported.

    Args:
        spec: The architecture that the weights belong to.
        name: Name of the distribution, as pip takes it.
        options: As for `file_weights.load`.
    Raises:
        WeightsError: It is not installed, or has no weights file, or several; else as for
            `file_weights.load`.
    """
    try:
        path = package_weights(name)
    except DatasetError as error:
        raise WeightsError(str(error)) from None
    return file_weights.load(spec, str(path), **options)
