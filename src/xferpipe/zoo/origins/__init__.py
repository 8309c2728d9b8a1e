"""Where weights come from, one module each: `load(spec, name)` returns the model and its card."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from torch import nn

from xferpipe.config.jobs import LoadWeightsJob, ModelSpec
from xferpipe.config.zoo import ZooEntry, file_options
from xferpipe.zoo.weights import WeightsError


def load(of: LoadWeightsJob | ZooEntry, spec: ModelSpec) -> tuple[nn.Module, dict[str, object]]:
    """Return the model of a zoo entry whose weights are brought, and what its origin says of it.

    Args:
        of: The entry, or the job that loads it.
        spec: Its architecture.
    Raises:
        WeightsError: The weights are missing or do not fit; the message says what to put where.
    """
    origin = importlib.import_module(f"xferpipe.zoo.origins.{of.weights}_weights")
    return origin.load(spec, of.name, **file_options(of))


def misfits(zoo: Mapping[str, ZooEntry]) -> list[str]:
    """Say which weights of files and packages do not load, as the job would that loads them.

    Args:
        zoo: Entries by name; those of other origins are passed over.
    """
    found = []
    for name, entry in zoo.items():
        if entry.lies_here:
            try:
                load(entry, ModelSpec.of(entry))
            except WeightsError as error:
                found.append(f"zoo.{name}: {error}")
    return found


def check_fit(zoo: Mapping[str, ZooEntry]) -> None:
    """Refuse weights of files and packages that jobs would not load, before others have run.

    Args:
        zoo: Entries by name; those of other origins are passed over.
    Raises:
        WeightsError: Some do not load; the message has a line for each.
    """
    if found := misfits(zoo):
        raise WeightsError("\n".join(found))
