"""The forward and backward pass of one batch: precision, memory format, parts, processes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.training.losses import loss_of
from xferpipe.training.memory import Pieces
from xferpipe.training.processes import parallel, share, world
from xferpipe.zoo.build import anatomy_of, classifier_of
from xferpipe.zoo.feature_pass import layer_input
from xferpipe.zoo.memory_format import in_channels_last

log = logging.getLogger(__name__)


class Step:
    """Computes losses and gradients as the recipe says.

    Args:
        model: The model being trained, on its device.
        recipe: The resolved recipe.
        class_weights: Weight of each class in the loss, float (c), on the model's device; None: 1
            each.
    Raises:
        ValueError: The recipe compares images that several processes do not share.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, class_weights: torch.Tensor | None = None
    ) -> None:
        self.recipe, self.class_weights = recipe, class_weights
        # Metric losses look at the features, which a hook costs a little to collect.
        self.metric = recipe.loss != "cross_entropy"
        if self.metric and world() > 1:
            raise ValueError(
                f"loss {recipe.loss} compares the images of a batch, which {world()} processes "
                "share out; use one process"
            )
        indivisible = ""
        if self.metric:
            indivisible = (
                f"loss {recipe.loss} compares the images of a pass; lower batch_size, or set "
                "micro_batch_size if comparing fewer is meant"
            )
        elif world() > 1:
            indivisible = f"{world()} processes must agree on it; set micro_batch_size"
        self.pieces = Pieces(recipe.micro_batch_size, indivisible=indivisible)
        self.model = model
        anatomy = anatomy_of(model)
        self.layer = model.get_submodule(anatomy.metric or anatomy.classifier)
        self.format = torch.contiguous_format
        if recipe.channels_last and in_channels_last(model):
            self.format = torch.channels_last
        elif recipe.channels_last:
            log.info(
                "channels_last is left aside: oneDNN computes wrong gradients of strided "
                "1 x 1 convolutions of few channels in this memory format"
            )
        model.to(memory_format=self.format)
        network = parallel(model, recipe)
        self.network = torch.compile(network) if recipe.compile else network

    def backward(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Make the gradients of a batch's mean loss, in pieces that fit into memory.

        Pieces accumulate to the batch's gradients; batch norms see one piece at a time.

        Args:
            images: Normalised, float (b, 3, h, w).
            labels: int64 (b), or probabilities (b, c).
        Returns:
            Sum of the loss over this process's images, float64 (); those classified right, int64
            (); their number, int64 (). All detached.
        Raises:
            PassMemoryError: The smallest pieces do not fit.
        """
        part, factor = share(len(images))
        images, labels = images[part], labels[part]
        if images.ndim == 4:
            images = images.to(memory_format=self.format)
        undo = self._undo(images.device)
        sums = self.pieces.retry(lambda: self._backward(images, labels, factor), len(images), undo)
        count = len(images) if factor else 0
        return sums[0] * (factor > 0), sums[1] * (factor > 0), sums.new_tensor(float(count))

    def _undo(self, device: torch.device) -> Callable[[], None]:
        """Return what takes back a pass: its gradients, statistics and random numbers."""
        buffers = list(self.model.buffers())
        kept = [buffer.clone() for buffer in buffers]
        state = torch.get_rng_state()
        on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

        @torch.no_grad()
        def undo() -> None:
            for parameter in self.model.parameters():
                parameter.grad = None
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
            torch.set_rng_state(state)
            if on_device is not None:
                torch.cuda.set_rng_state(on_device, device)

        return undo

    def _backward(self, images: torch.Tensor, labels: torch.Tensor, factor: float) -> torch.Tensor:
        """Return the sums of loss and of right answers, float64 (2)."""
        sums = torch.zeros(2, dtype=torch.float64, device=images.device)
        pieces = self.pieces.split(images, labels)
        for i, (some, wanted) in enumerate(pieces):
            more = world() > 1 and i < len(pieces) - 1
            with self.network.no_sync() if more else nullcontext():
                loss, logits = self._forward(some, wanted)
                (loss * (factor * len(some) / len(images))).backward()
            with torch.no_grad():
                truth = wanted.argmax(1) if wanted.ndim == 2 else wanted
                right = (logits.argmax(1) == truth).sum()
                sums += torch.stack([loss.detach().double() * len(some), right.double()])
        return sums

    def _forward(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        precision = (
            torch.autocast(images.device.type, torch.bfloat16)
            if self.recipe.amp == "bf16"
            else nullcontext()
        )
        weights = self.class_weights
        with precision:
            if not self.metric:
                logits = self.network(images).flatten(1)
                return loss_of(self.recipe, logits, logits, labels, weights), logits
            with layer_input(self.layer) as features:
                logits = self.network(images).flatten(1)
        classes = None
        if self.recipe.loss == "arcface":
            classes = self._class_vectors(features[-1])
        loss = loss_of(self.recipe, logits.float(), features[-1].float(), labels, weights, classes)
        return loss, logits

    def _class_vectors(self, features: torch.Tensor) -> torch.Tensor:
        """Return the rows of the linear head, float (c, d), which get gradients."""
        rows = classifier_of(self.model).weight.flatten(1).float()
        if rows.shape[1] != features.shape[1]:
            raise ValueError(
                f"loss arcface: features of {features.shape[1]} values, but the head takes "
                f"{rows.shape[1]}; use a model whose features go into one linear head, or another "
                "loss"
            )
        return rows
