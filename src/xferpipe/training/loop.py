"""The training loop: one for pretraining and fine-tuning."""

from __future__ import annotations

import copy
import functools
import importlib
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.config.study import METRICS
from xferpipe.datasets.samplers import Sampler, sampler
from xferpipe.seeding import stream
from xferpipe.training.average import Average
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.evaluate import BATCH, Evaluation, Judge, Ranking, evaluate
from xferpipe.training.labelled import Labelled
from xferpipe.training.losses import balanced_weights
from xferpipe.training.parameters import (
    freeze,
    laid_out,
    optimiser,
    scheduled_rates,
    training_mode,
)
from xferpipe.training.processes import rank, total, world
from xferpipe.training.progress import Progress, progress
from xferpipe.training.step import Step
from xferpipe.zoo.build import outputs_of
from xferpipe.zoo.normalisation import normalisation_parameters


@dataclass
class Fit:
    """What a run came to; the model holds the weights of `kept_epoch`.

    Attributes:
        rows: One mapping for each epoch, with the measured columns of table `epochs`.
        kept_epoch: Epoch that was kept, 1-based; 0 where not one epoch ended well.
        validation: What the weights of that epoch say of the validation images; None without any.
        diverged: Why the run ended early; None for a run that finished.
        seconds: Time in epochs, validation included.
        images: Images trained on in that time, repeats counted.
        training_seconds: Time in training steps alone.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    kept_epoch: int = 0
    validation: Evaluation | Ranking | None = None
    diverged: str | None = None
    seconds: float = 0.0
    images: int = 0
    training_seconds: float = 0.0


class Watcher(Protocol):
    """Looks at the model after each epoch; what it keeps travels with the checkpoint."""

    def after_epoch(self, epoch: int, model: nn.Module) -> None:
        """Look at the model that is evaluated, after epoch `epoch`, 1-based."""

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""


def fit(
    model: nn.Module,
    recipe: Recipe,
    train: Labelled,
    validation: Labelled | None,
    *,
    seed: int,
    name: str = "training",
    checkpoint: Checkpoint | None = None,
    order: Sampler | None = None,
    watcher: Watcher | None = None,
    judge: Judge = evaluate,
    judged_by: str = "accuracy",
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
        order: Sampler of the training images; None takes the recipe's.
        watcher: Looks at the model after each epoch, outside the epoch's time; it must leave the
            weights and torch's random state alone.
        judge: Judges the model by the validation images after each epoch.
        judged_by: Figure of the validation images that the best epoch has most of; one of
            `config.study.METRICS` that `judge` gives.
    Returns:
        What the run came to. A loss that is not finite ends the run and is no error.
    """
    order = order or sampler(recipe, train.labels.numpy(), seed=seed)
    run = _Run(model, recipe, train, validation, seed, checkpoint, order, watcher, judge, judged_by)
    return run.all(name)


class _Run:
    """State of one run; what a checkpoint holds is named in `state`."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        train: Labelled,
        validation: Labelled | None,
        seed: int,
        checkpoint: Checkpoint | None,
        order: Sampler,
        watcher: Watcher | None = None,
        judge: Judge = evaluate,
        judged_by: str = "accuracy",
    ) -> None:
        self.model, self.recipe, self.seed = model, recipe, seed
        self.train, self.validation = train, validation
        self.checkpoint, self.order, self.watcher = checkpoint, order, watcher
        self.judge, self.judged_by = judge, judged_by
        self.steps = len(order)
        self.all_steps = recipe.steps or recipe.epochs * self.steps
        self.epochs = math.ceil(self.all_steps / self.steps)
        freeze(model, recipe)
        self.initial = copy.deepcopy(model.state_dict())
        self.normalisation = normalisation_parameters(model)
        weights = None
        if recipe.class_weights == "balanced":
            weights = balanced_weights(train.labels, outputs_of(model)).to(train.device)
        self.passes = Step(model, recipe, weights)
        self.optimiser = optimiser(model, recipe)
        module = importlib.import_module(f"xferpipe.training.algorithms.{recipe.algorithm}")
        self.algorithm = module.Algorithm(
            model, self.optimiser, recipe, functools.partial(_plain_images, train, self.passes)
        )
        self.average = Average(model, recipe, self.epochs) if recipe.model_ema else None
        self.fit = Fit()
        self.best = (-math.inf, -math.inf)
        self.kept = self.initial
        self.epoch = self.step = 0
        # Sum of losses, images classified right, images: of the epoch so far and all processes,
        # so that a checkpoint of process 0 holds what all of them saw.
        self.sums = torch.zeros(3, dtype=torch.float64, device=train.device)
        self.epoch_seconds = 0.0
        if checkpoint is not None and (state := checkpoint.read()) is not None:
            self.resume(state)

    def all(self, name: str) -> Fit:
        """Train to the end."""
        done = self.epoch * self.steps + self.step
        with progress(name, steps=self.all_steps, done=done, quiet=rank() > 0) as shown:
            while self.epoch < self.epochs and self.fit.diverged is None:
                self.one_epoch(shown)
                if self.fit.diverged is None:
                    accuracy = self.fit.rows[-1]["train_accuracy"]
                    if self.algorithm.finished(self.epoch - 1, accuracy):
                        break
        self.model.load_state_dict(self.kept)
        self.model.eval()
        return self.fit

    def one_epoch(self, shown: Progress) -> None:
        """Train on one pass, or what is left of it, and validate."""
        started = time.monotonic() - self.epoch_seconds
        training_mode(self.model, self.recipe)
        first = self.epoch * self.steps
        batches = itertools.islice(
            self.order.batches(self.epoch, self.step), self.all_steps - first - self.step
        )
        data = self.train.training(
            batches,
            classes=outputs_of(self.model),
            seed=self.seed,
            first_step=first + self.step,
        )
        for images, labels in data:
            scheduled_rates(self.optimiser, self.recipe, self.epoch, self.step, self.steps)
            self.algorithm.change_rates(self.epoch, self.step, self.steps)
            loss = self.one_step(images, labels)
            # On a GPU a look at the loss would wait for it; there the epoch's sum tells.
            if loss.device.type == "cpu" and world() == 1 and not math.isfinite(loss):
                self.fit.diverged = (
                    f"the loss is {loss.item()} at step {self.step + 1} of epoch {self.epoch + 1}, "
                    f"learning rate {self.optimiser.param_groups[0]['lr']:g}"
                )
                return
            self.step += 1
            shown.step()
            if self.checkpoint is not None and rank() == 0 and self.checkpoint.due():
                self.epoch_seconds = time.monotonic() - started
                self.checkpoint.write(self.state())
        self.end_of_epoch(started, shown)

    def one_step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Train on one batch; return its mean loss, detached."""
        # Dropout and its kind draw from torch's global state.
        torch.manual_seed(stream(self.seed, "model", self.epoch, self.step))
        results = []

        def backward() -> torch.Tensor:
            results.append(self.passes.backward(images, labels))
            return results[-1][0] / results[-1][2].clamp(min=1)

        loss = self.algorithm.update(backward)
        self.sums += total(torch.stack(results[0]))
        if self.average is not None:
            self.average.after_step(self.model, self.epoch, self.step)
        return loss

    def end_of_epoch(self, started: float, shown: Progress) -> None:
        """Validate, keep the best weights, note the epoch."""
        loss, right, count = self.sums.tolist()
        trained_seconds = time.monotonic() - started
        self.algorithm.after_epoch(self.epoch, right / count)
        result = self.judged()
        seconds = time.monotonic() - started
        order = result.order(self.judged_by) if result else ()
        if not all(map(math.isfinite, (loss, *order))):
            self.fit.diverged = f"the loss or a feature is not finite in epoch {self.epoch + 1}"
            return
        self.fit.rows.append(
            {
                "epoch": self.epoch + 1,
                "learning_rate": self.optimiser.param_groups[0]["lr"],
                "train_loss": loss / count,
                "train_accuracy": right / count,
                **{
                    f"validation_{name}": getattr(result, name, None) for name in ("loss", *METRICS)
                },
                **self.distances(),
                "micro_batch_size": self.passes.pieces.size or self.recipe.batch_size,
                "seconds": seconds,
            }
        )
        self.fit.seconds += seconds
        self.fit.training_seconds += trained_seconds
        self.fit.images += int(count)
        self.keep(result, order)
        if self.watcher is not None:
            self.watcher.after_epoch(self.epoch + 1, self.evaluated())
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.sums.zero_()
        shown.epoch(_line(self.fit.rows[-1], self.epochs))

    def evaluated(self) -> nn.Module:
        """Return the model that is validated and kept."""
        return self.average.evaluated() if self.average else self.algorithm.evaluated()

    def judged(self) -> Evaluation | Ranking | None:
        """Validate, where there is a validation split."""
        return self.judge(self.evaluated(), self.validation) if self.validation else None

    def keep(self, result: Evaluation | Ranking | None, order: tuple[float, ...]) -> None:
        """Keep this epoch's weights if it is the best: the first of the highest `order`."""
        if self.recipe.select == "best" and result is not None:
            if order <= self.best:
                return
            self.best = order
        weights = self.evaluated().state_dict()
        if self.kept is self.initial:
            self.kept = copy.deepcopy(weights)
        else:
            for name, value in weights.items():
                self.kept[name].copy_(value)
        self.fit.kept_epoch, self.fit.validation = self.epoch + 1, result

    @torch.no_grad()
    def distances(self) -> dict[str, float]:
        """Return how far the evaluated weights are from the initial ones, without those frozen:
        all of them, and all but the scales and shifts of normalisation layers."""
        every, without = [], []
        weights = zip(self.model.named_parameters(), self.evaluated().parameters(), strict=True)
        for (name, trained), now in weights:
            if trained.requires_grad:
                every.append((now - self.initial[name]).square_().sum(dtype=torch.float64))
                if name not in self.normalisation:
                    without.append(every[-1])
        lengths = (
            torch.stack(part).sum().sqrt().item() if part else 0.0 for part in (every, without)
        )
        return dict(zip(("distance", "distance_without_normalisation"), lengths, strict=True))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds; random streams are named by `epoch` and `step`."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "algorithm": self.algorithm.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "kept": self.kept,
            "fit": vars(self.fit)
            | {"validation": vars(self.fit.validation) if self.fit.validation else None},
            "best": list(self.best),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "epoch_seconds": self.epoch_seconds,
            "watcher": self.watcher.state_dict() if self.watcher else {},
            # As far as memory went: what comes after is split as what came before.
            "micro_batch_size": self.passes.pieces.size,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, values in self.optimiser.state.items():
            values.update(laid_out(values, parameter))
        self.algorithm.load_state_dict(state["algorithm"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.kept = state["kept"]
        self.fit = Fit(**state["fit"])
        if (kept := state["fit"]["validation"]) is not None:
            self.fit.validation = (Ranking if "ap" in kept else Evaluation)(**kept)
        self.best = tuple(state["best"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.sums = state["sums"].to(self.train.device)
        self.epoch_seconds = state["epoch_seconds"]
        if self.watcher:
            self.watcher.load_state_dict(state["watcher"])
        self.passes.pieces.size = state["micro_batch_size"]


def _plain_images(train: Labelled, passes: Step) -> Iterator[torch.Tensor]:
    """Yield the training images as evaluation sees them, for batch-norm statistics.

    No method of the run: the algorithm would hold the run that holds it, and the copies of the
    weights would outlive the run until the garbage collector comes by.
    """
    # Never more than fit into memory in training.
    for images, _ in train.evaluation(min(BATCH, passes.pieces.size or BATCH)):
        yield images


def _line(row: dict[str, Any], epochs: int) -> str:
    text = (
        f"epoch {row['epoch']}/{epochs}: lr {row['learning_rate']:.3g}, "
        f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.4f}"
    )
    if row["validation_map"] is not None:
        text += f", validation mAP {row['validation_map']:.4f}"
    if row["validation_loss"] is not None:
        text += (
            f", validation loss {row['validation_loss']:.4f} "
            f"accuracy {row['validation_accuracy']:.4f}"
        )
    return f"{text}, {row['seconds']:.1f} s"
