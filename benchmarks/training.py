"""The training loop against a plain DataLoader loop and against the bare step.

    python benchmarks/training.py [--threads 2] [--rounds 5] [--images 1024] [--px 32]

Goals, ResNet-18 at 32 px on 2 cores: at least 1.3 times the images per second of a plain
`DataLoader` + transforms loop (PIL, padded crop, mirror, normalise) with the same model, at least
95 % of the bare forward, backward and optimiser step on tensors in memory, and peak memory not
above the plain loop's by more than the packed images.

Rounds alternate, so that a machine that slows down slows all; the figures are medians of the
ratios of one round. `processor` compares processor seconds, children's included, which other
programs on the machine hardly touch. The rows with channels_last and bf16 are options of a recipe,
which change the last digits. Memory is the peak of one fresh process for each loop.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.recipes import Recipe
from xferpipe.datasets.images import Images
from xferpipe.training.data import LabelledImages
from xferpipe.training.loop import fit
from xferpipe.zoo.build import build_model

RESULTS = Path(__file__).parent / "results" / "training.csv"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
BATCH, CLASSES = 128, 10
LOOPS = (
    "ours",
    "ours_channels_last",
    "ours_channels_last_bf16",
    "plain",
    "plain_2_workers",
    "bare",
)


class Packed(Images):
    """Packed images in memory; no file, so that every loop reads from the same place."""

    def __init__(self, packed: numpy.ndarray) -> None:
        self.packed, self.px = packed, packed.shape[-1]

    def batch(self, rows: numpy.ndarray) -> torch.Tensor:
        """Return images by row, uint8 (b, 3, px, px)."""
        return torch.from_numpy(self.packed[rows])


class Pictures(torch.utils.data.Dataset):
    """The same images one by one, as PIL pictures through transforms."""

    def __init__(self, packed: numpy.ndarray, labels: numpy.ndarray) -> None:
        from PIL import Image
        from torchvision import transforms

        self.packed, self.labels, self.picture = packed, labels, Image.fromarray
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(packed.shape[-1], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        picture = self.picture(self.packed[i].transpose(1, 2, 0))
        return self.transform(picture), int(self.labels[i])


def step(
    model: nn.Module, optimiser: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> None:
    """Take one plain optimiser step."""
    optimiser.zero_grad()
    functional.cross_entropy(model(images), labels).backward()
    optimiser.step()


def loops(count: int, px: int) -> dict[str, Callable[[], Callable[[], None]]]:
    """Return makers of one-epoch runs by name; each makes its own model, warm after a first run."""
    draw = numpy.random.default_rng(0)
    packed = draw.integers(0, 255, (count, 3, px, px), dtype=numpy.uint8)
    labels = draw.integers(0, CLASSES, count)
    spec = ModelSpec(architecture="resnet18", width=16, mean=MEAN, std=STD)
    recipe = Recipe(
        epochs=1, batch_size=BATCH, lr=0.01, crop_padding_px=4, horizontal_flip=0.5, select="last"
    )

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = build_model(spec, CLASSES).train()
        return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def ours(**options: object) -> Callable[[], None]:
        chosen = Recipe.model_validate(recipe.model_dump() | options)
        data = LabelledImages(
            Packed(packed), numpy.arange(count), labels, spec, torch.device("cpu"), chosen
        )
        model = build_model(spec, CLASSES)
        return lambda: fit(model, chosen, data, None, seed=0) and None

    def plain(workers: int) -> Callable[[], None]:
        model, optimiser = fresh()
        loader = torch.utils.data.DataLoader(
            Pictures(packed, labels),
            BATCH,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

        def epoch() -> None:
            for images, wanted in loader:
                step(model, optimiser, images, wanted)

        return epoch

    def bare() -> Callable[[], None]:
        model, optimiser = fresh()
        images = torch.randn(count, 3, px, px).split(BATCH)
        wanted = torch.from_numpy(labels).split(BATCH)

        def epoch() -> None:
            for some, these in zip(images, wanted, strict=True):
                step(model, optimiser, some, these)

        return epoch

    return {
        "ours": ours,
        "ours_channels_last": lambda: ours(channels_last=True),
        "ours_channels_last_bf16": lambda: ours(channels_last=True, amp="bf16"),
        "plain": lambda: plain(0),
        "plain_2_workers": lambda: plain(2),
        "bare": bare,
    }


def processor_seconds() -> float:
    """Return processor time of this process and its children."""
    own, theirs = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + theirs.ru_utime + theirs.ru_stime


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Return wall and processor seconds of one epoch."""
    wall, processor = time.monotonic(), processor_seconds()
    run()
    return time.monotonic() - wall, processor_seconds() - processor


def peak_mib(name: str, arguments: argparse.Namespace) -> float:
    """Return the peak memory of a process that runs one loop alone."""
    command = [sys.executable, __file__, "--alone", name, "--images", str(arguments.images)]
    command += ["--px", str(arguments.px), "--threads", str(arguments.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and append the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--px", type=int, default=32)
    parser.add_argument("--alone", choices=LOOPS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    makers = loops(arguments.images, arguments.px)
    if arguments.alone:
        run = makers[arguments.alone]()
        run()
        run()
        # Not getrusage: a child begins with the peak of the process that it was forked from.
        status = Path("/proc/self/status").read_text()
        print(json.dumps(int(status.split("VmHWM:")[1].split()[0]) / 1024))
        return
    runs = {name: makers[name]() for name in LOOPS}
    for run in runs.values():
        run()
    rounds = [{name: timed(runs[name]) for name in LOOPS} for _ in range(arguments.rounds)]
    row: dict[str, object] = {
        "host": platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "images": arguments.images,
        "px": arguments.px,
        "torch": torch.__version__,
    }
    for name in LOOPS:
        seconds = statistics.median(found[name][0] for found in rounds)
        row[f"{name}_images_per_second"] = round(arguments.images / seconds, 1)
    for i, clock in enumerate(("wall", "processor")):
        for name in (name for name in LOOPS if name.startswith("ours")):
            for other in ("plain", "plain_2_workers", "bare"):
                if other == "plain_2_workers" and clock == "processor":
                    continue  # Its workers live on, so that their time is not accounted for yet.
                ratio = statistics.median(found[other][i] / found[name][i] for found in rounds)
                row[f"{name}_to_{other}_{clock}"] = round(ratio, 3)
    for name in ("ours", "plain"):
        row[f"{name}_peak_mib"] = round(peak_mib(name, arguments), 1)
    row["packed_mib"] = round(arguments.images * 3 * arguments.px**2 / 2**20, 1)
    for name, value in row.items():
        print(f"{name}: {value}")
    new = not RESULTS.exists()
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
