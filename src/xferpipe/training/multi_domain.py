"""Training of multi-domain experts: the same loop over batches of one domain each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy
import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.datasets.samplers import BalancedDomains
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.labelled import Batch, LabelledImages
from xferpipe.training.loop import Fit, fit
from xferpipe.zoo.build import outputs_of
from xferpipe.zoo.domains import set_domain


class DomainImages:
    """Images of several domains in a row; each batch is of one, which it makes the active one.

    Args:
        model: The expert that the batches are for.
        domains: Images of each domain.
    """

    def __init__(self, model: nn.Module, domains: Sequence[LabelledImages]) -> None:
        self.model, self.domains = model, domains
        self.labels = torch.cat([part.labels for part in domains])
        self.device = domains[0].device
        sizes = [len(part) for part in domains]
        self.starts = numpy.cumsum([0, *sizes])
        self.of = numpy.repeat(numpy.arange(len(domains)), sizes)

    def __len__(self) -> int:
        return len(self.labels)

    def training(
        self, batches: Iterable[numpy.ndarray], *, classes: int, seed: int, first_step: int
    ) -> Iterator[Batch]:
        """Yield augmented batches; see `LabelledImages.training`."""
        for step, positions in enumerate(batches, start=first_step):
            domain = int(self.of[positions[0]])
            set_domain(self.model, domain)
            yield from self.domains[domain].training(
                [positions - self.starts[domain]],
                classes=outputs_of(self.model),
                seed=seed,
                first_step=step,
            )

    def evaluation(self, size: int) -> Iterator[Batch]:
        """Yield all images, domain after domain."""
        for domain, part in enumerate(self.domains):
            for batch in part.evaluation(size):
                set_domain(self.model, domain)
                yield batch


def train_expert(
    model: nn.Module,
    recipe: Recipe,
    train: Sequence[LabelledImages],
    validation: Sequence[LabelledImages],
    *,
    images_per_domain: int,
    seed: int,
    name: str = "expert",
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train an expert on all its domains with balanced sampling.

    Args:
        model: Of `zoo.domains.make_expert`, on its device.
        recipe: The resolved recipe.
        train: Training images of each domain.
        validation: Validation images of each domain; the epoch is chosen on all of them.
        images_per_domain: Images of each domain in an epoch, with replacement where it has fewer.
        seed: Seed of the run.
        name: Shown with the progress.
        checkpoint: See `training.loop.fit`.
    Raises:
        ValueError: The recipe keeps a second model, whose domain the batches would not switch, or
            weighs classes, whose numbers mean another class in each domain.
    """
    if recipe.class_weights != "none":
        raise ValueError(
            f"experts cannot be trained with class_weights: {recipe.class_weights}: their domains "
            "number other classes alike; set class_weights: none"
        )
    if recipe.model_ema or recipe.algorithm in ("swa", "rsgd"):
        raise ValueError(
            "experts cannot be trained with model_ema, swa or rsgd: batches switch the domain of "
            "the trained model alone; use algorithm plain or sam"
        )
    data = DomainImages(model, train)
    order = BalancedDomains(data.of, images_per_domain, recipe.batch_size, seed=seed)
    return fit(
        model,
        recipe,
        data,
        DomainImages(model, validation),
        seed=seed,
        name=name,
        checkpoint=checkpoint,
        order=order,
    )
