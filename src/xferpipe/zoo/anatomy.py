"""Names of the parts of a model that scores, heads and freezing refer to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn


@dataclass(frozen=True)
class Anatomy:
    """Module names of one model, as in `model.named_modules()`.

    Attributes:
        head: What a new head replaces.
        classifier: The last linear layer, inside `head` or `head` itself; its input is the feature
            vector of every score.
        stem: First convolution.
        stem_norm: Normalisation right after it; empty without one.
        stem_pool: Pooling right after the stem; empty without one.
        global_pool: Pooling from maps to vectors; empty without one.
        last_convolution: Last convolution, or the last linear layer of the last block where there
            is none; the layer of the gradient scores.
        stages: Groups of modules from input to output.
        metric: Layer whose input metric losses compare; empty for the classifier.
    """

    head: str
    classifier: str
    stem: str
    stem_norm: str
    stem_pool: str
    global_pool: str
    last_convolution: str
    stages: tuple[tuple[str, ...], ...]
    metric: str = ""

    def with_head(self, classifier: str, metric: str = "") -> Anatomy:
        """Return a copy for a new head; names are inside `head`."""
        inside = f"{self.head}.{classifier}" if classifier else self.head
        return replace(self, classifier=inside, metric=metric)


def last_named(model: nn.Module, kinds: type | tuple[type, ...], *, outside: str = "") -> str:
    """Return the name of the last module of one of `kinds`, leaving out what is below `outside`.

    Raises:
        ValueError: The model has no such module.
    """
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, kinds)
        and not (outside and (name == outside or name.startswith(f"{outside}.")))
    ]
    if not names:
        wanted = kinds if isinstance(kinds, tuple) else (kinds,)
        raise ValueError(
            f"{type(model).__name__} has no {' or '.join(kind.__name__ for kind in wanted)}; "
            "the gradient scores need one"
        )
    return names[-1]


def set_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` where the module called `name` is."""
    parent, _, child = name.rpartition(".")
    owner = model.get_submodule(parent)
    if child.isdigit() and isinstance(owner, nn.Sequential | nn.ModuleList):
        owner[int(child)] = module
    else:
        setattr(owner, child, module)
