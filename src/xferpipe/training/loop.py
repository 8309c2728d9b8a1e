"""The training loop: one for pretraining and fine-tuning."""

from __future__ import annotations

import copy
import importlib
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.seeding import stream
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.data import LabelledImages
from xferpipe.training.evaluate import Evaluation, evaluate
from xferpipe.training.losses import loss_of
from xferpipe.training.parameters import freeze, optimiser, set_learning_rate, training_mode
from xferpipe.training.progress import Progress, progress
from xferpipe.training.sampling import batches
from xferpipe.zoo.features import classifier_input


@dataclass
class Fit:
    """What a run came to; the model holds the weights of `best_epoch`.

    Attributes:
        rows: One mapping for each epoch, with the measured columns of table `epochs`.
        best_epoch: Epoch that was kept, 1-based; 0 where not one epoch ended well.
        diverged: Why the run ended early; None for a run that finished.
        seconds: Time in epochs, validation included.
        images: Images trained on in that time, repeats counted.
        training_seconds: Time in training steps alone.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    diverged: str | None = None
    seconds: float = 0.0
    images: int = 0
    training_seconds: float = 0.0


def fit(
    model: nn.Module,
    recipe: Recipe,
    train: LabelledImages,
    validation: LabelledImages | None,
    *,
    seed: int,
    name: str = "training",
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train a model with a recipe.

    Args:
        model: On its device; trained in place.
        recipe: The resolved recipe.
        train: Training images.
        validation: Images that the epoch is chosen on; None keeps the last epoch.
        seed: Seed of shuffling, augmentation and dropout.
        name: Shown with the progress.
        checkpoint: Where to write at intervals and go on from; removed by the caller, when what
            the run came to is safely written.
    Returns:
        What the run came to. A loss that is not finite ends the run and is no error.
    """
    return _Run(model, recipe, train, validation, seed, checkpoint).all(name)


class _Run:
    """State of one run; what a checkpoint holds is named in `state`."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        train: LabelledImages,
        validation: LabelledImages | None,
        seed: int,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.model, self.recipe, self.seed = model, recipe, seed
        self.train, self.validation, self.checkpoint = train, validation, checkpoint
        freeze(model, recipe)
        self.initial = [parameter.detach().clone() for parameter in model.parameters()]
        self.optimiser = optimiser(model, recipe)
        module = importlib.import_module("xferpipe.training.algorithms.plain")
        self.algorithm = module.Algorithm(model, self.optimiser, recipe, seed)
        self.fit = Fit()
        self.best = (-math.inf, -math.inf)
        self.kept = copy.deepcopy(model.state_dict())
        self.epoch = self.step = 0
        self.sums = torch.zeros(3, dtype=torch.float64, device=train.device)
        self.epoch_seconds = 0.0
        if checkpoint is not None and (state := checkpoint.read()) is not None:
            self.resume(state)

    def all(self, name: str) -> Fit:
        labels = self.train.labels.numpy()
        steps = len(batches(self.recipe, labels, self.seed, 0))
        done = self.epoch * steps + self.step
        with progress(name, epochs=self.recipe.epochs, steps=steps, done=done) as shown:
            while self.epoch < self.recipe.epochs and self.fit.diverged is None:
                self.one_epoch(batches(self.recipe, labels, self.seed, self.epoch), shown)
                accuracy = self.fit.rows[-1]["train_accuracy"] if self.fit.rows else 0.0
                if self.algorithm.finished(self.epoch - 1, accuracy):
                    break
        self.model.load_state_dict(self.kept)
        self.model.eval()
        return self.fit

    def one_epoch(self, order: list, shown: Progress) -> None:
        started = time.monotonic() - self.epoch_seconds
        training_mode(self.model)
        rows = (self.train.rows[positions] for positions in order[self.step :])
        pixels = self.train.images.batches(rows)
        rate = self.optimiser.param_groups[0]["lr"]
        for positions in order[self.step :]:
            rate = set_learning_rate(self.optimiser, self.recipe, self.epoch)
            loss = self.one_step(next(pixels), positions)
            if loss.device.type == "cpu" and not math.isfinite(loss):
                self.fit.diverged = (
                    f"the loss is {loss.item()} at step {self.step + 1} of epoch {self.epoch + 1}, "
                    f"learning rate {rate:g}"
                )
                return
            self.step += 1
            shown.step()
            if self.checkpoint is not None and self.checkpoint.due():
                self.epoch_seconds = time.monotonic() - started
                self.checkpoint.write(self.state())
        total, right, count = self.sums.tolist()
        trained_seconds = time.monotonic() - started
        result = self.judged()
        seconds = time.monotonic() - started
        if not math.isfinite(total + (result.loss if result else 0.0)):
            self.fit.diverged = f"the loss is not finite after epoch {self.epoch + 1}"
            return
        row = {
            "epoch": self.epoch + 1,
            "learning_rate": rate,
            "train_loss": total / count,
            "train_accuracy": right / count,
            "validation_loss": result.loss if result else None,
            "validation_accuracy": result.accuracy if result else None,
            "distance": self.distance(),
            "seconds": seconds,
        }
        self.fit.rows.append(row)
        self.fit.seconds += seconds
        self.fit.training_seconds += trained_seconds
        self.fit.images += int(count)
        self.keep(result)
        self.algorithm.after_epoch(self.epoch, row["train_accuracy"], len(order))
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.sums.zero_()
        shown.epoch(_line(row, self.recipe.epochs))

    def one_step(self, pixels: torch.Tensor, positions: Any) -> torch.Tensor:
        """Train on one batch; return its loss, detached."""
        torch.manual_seed(stream(self.seed, "model", self.epoch, self.step))
        images = self.train.normalise(pixels.to(self.train.device, non_blocking=True))
        images = self.algorithm.images(images, self.epoch, self.step)
        labels = self.train.labels_of(positions)
        seen: dict[str, torch.Tensor] = {}

        def backward() -> torch.Tensor:
            with classifier_input(self.model) as features:
                logits = self.model(images)
            loss = loss_of(self.recipe, logits, features[-1], labels)
            loss.backward()
            seen.setdefault("logits", logits.detach())
            return loss.detach()

        loss = self.algorithm.update(backward)
        right = (seen["logits"].argmax(1) == labels).sum()
        count = len(labels)
        self.sums += torch.stack(
            [loss.double() * count, right.double(), torch.full_like(loss.double(), count)]
        )
        return loss

    def judged(self) -> Evaluation | None:
        if self.validation is None:
            return None
        return evaluate(self.algorithm.evaluated(), self.validation)

    def keep(self, result: Evaluation | None) -> None:
        """Keep this epoch's weights if it is the best: accuracy first, loss between equals."""
        if self.recipe.select == "best" and result is not None:
            figure = (result.accuracy, -result.loss)
            if figure <= self.best:
                return
            self.best = figure
        self.kept = copy.deepcopy(self.algorithm.evaluated().state_dict())
        self.fit.best_epoch = self.epoch + 1

    @torch.no_grad()
    def distance(self) -> float:
        """Return the Euclidean distance of the weights from the initial ones."""
        squares = [
            (now.double() - before.double()).square().sum()
            for now, before in zip(self.model.parameters(), self.initial, strict=True)
            if now.requires_grad
        ]
        return torch.stack(squares).sum().sqrt().item()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "algorithm": self.algorithm.state_dict(),
            "kept": self.kept,
            "fit": vars(self.fit),
            "best": list(self.best),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "epoch_seconds": self.epoch_seconds,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.algorithm.load_state_dict(state["algorithm"])
        self.kept = state["kept"]
        self.fit = Fit(**state["fit"])
        self.best = tuple(state["best"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.sums = state["sums"].to(self.train.device)
        self.epoch_seconds = state["epoch_seconds"]


def _line(row: dict[str, Any], epochs: int) -> str:
    text = (
        f"epoch {row['epoch']}/{epochs}: lr {row['learning_rate']:.3g}, "
        f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.4f}"
    )
    if row["validation_loss"] is not None:
        text += (
            f", validation loss {row['validation_loss']:.4f} "
            f"accuracy {row['validation_accuracy']:.4f}"
        )
    return f"{text}, {row['seconds']:.1f} s"
