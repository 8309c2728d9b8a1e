"""The training loop against plain DataLoader loops and against the bare step.

    python benchmarks/training.py [--threads 2] [--rounds 5] [--images 2048] [--px 32]

Goals, ResNet-18 at 32 px on 2 cores: at least 1.3 times the images per second of a plain
`DataLoader` + transforms loop with the same model, at least 95 % of the bare forward, backward and
optimiser step on tensors in memory, and peak memory not above the plain loop's by more than the
packed images.

The plain loop is what a user writes: torchvision transforms of PIL pictures, one by one, from an
array in memory as torchvision's CIFAR10 holds it, in float32. It runs without workers and with two,
and the faster one counts. `light` is a padded crop and a mirror image; `heavy` a random resized
crop, a mirror image, colour jitter and random erasing. Our loop runs with the default recipe
(channels_last), in the default memory format and, where the processor has it, in bf16, each beside
a bare step that computes in the same way, with the same optimiser, in a process set up the same.

Every loop has a process of its own, since ours sets its process up as a job does (`prepare`). They
take turns, so that a machine that slows down slows all; figures are medians of the ratios of one
round. With `--threads 1` the clock is the processor time, which a busy machine stretches less, and
there are no workers: one core's work is compared. Seconds are those of an epoch's steps, data
included; what a run of ours does beside (copies of the first and the best weights, distances) is
`rest_seconds`. Memory is the highest resident set of a process, with as many packed images as
CIFAR-10 has.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import torch
from torch.nn import functional

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.recipes import Recipe
from xferpipe.datasets.images import PackedImages
from xferpipe.training.compute import prepare
from xferpipe.training.labelled import Batch, LabelledImages
from xferpipe.training.loop import fit
from xferpipe.zoo.build import build_model

RESULTS = Path(__file__).parent / "results"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
BATCH, CLASSES, PACKED = 128, 10, 50_000
LIGHT = {"crop_padding_px": 4, "horizontal_flip": 0.5}
HEAVY = {
    "random_resized_crop": (0.08, 1.0),
    "horizontal_flip": 0.5,
    "color_jitter": (0.4, 0.4, 0.4, 0.1),
    "random_erase": 0.1,
}
OPTIONS = {"": {}, "_default_format": {"channels_last": False}}
# Elsewhere bf16 is made of float32 arithmetic and several times slower: nobody would choose it.
if torch.ops.mkldnn._is_mkldnn_bf16_supported():
    OPTIONS["_bf16"] = {"amp": "bf16"}
#: Seconds of one epoch's steps, and those that the run takes beside them.
Seconds = tuple[float, float]


class Timed(LabelledImages):
    """Images that note when the steps of an epoch begin and end."""

    def training(self, *arguments: object, **options: object) -> Iterator[Batch]:
        """Yield augmented batches between two looks at the clock."""
        begun = clock()
        yield from super().training(*arguments, **options)
        self.seconds = clock() - begun


class Pictures(torch.utils.data.Dataset):
    """The same images one by one, as PIL pictures through transforms."""

    def __init__(self, packed: numpy.ndarray, labels: numpy.ndarray, heavy: bool) -> None:
        from PIL import Image
        from torchvision import transforms

        px = packed.shape[-1]
        first = [transforms.RandomCrop(px, padding=4), transforms.RandomHorizontalFlip()]
        last = []
        if heavy:
            first = [
                transforms.RandomResizedCrop(px),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(*HEAVY["color_jitter"]),
            ]
            last = [transforms.RandomErasing(HEAVY["random_erase"])]
        tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.transform = transforms.Compose([*first, *tensor, *last])
        self.packed = numpy.ascontiguousarray(packed.transpose(0, 2, 3, 1))
        self.labels, self.picture = labels, Image.fromarray

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.picture(self.packed[i])), int(self.labels[i])


def clock() -> float:
    """Return seconds: of the processor where one thread computes, else the wall's."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class Loops:
    """Makers of one-epoch runs by name; each makes its own model.

    Args:
        folder: Holds the packed images, `images.npy`.
        images: Images of an epoch.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.path, self.images = folder / "images.npy", images
        self.labels = numpy.arange(images) % CLASSES
        self.spec = ModelSpec(architecture="resnet18", width=16, mean=MEAN, std=STD)
        self.makers: dict[str, Callable[[], Callable[[], Seconds]]] = {}
        for kind, augmentation in (("light", LIGHT), ("heavy", HEAVY)):
            for name, options in OPTIONS.items():
                self.makers[f"{kind}_ours{name}"] = lambda a=augmentation, o=options: self.ours(
                    a, o
                )
            loaders = (
                {0: "plain", 2: "plain_2_workers"} if torch.get_num_threads() > 1 else {0: "plain"}
            )
            for workers, name in loaders.items():
                self.makers[f"{kind}_{name}"] = lambda h=kind == "heavy", w=workers: self.plain(
                    h, w
                )
        for name, options in OPTIONS.items():
            self.makers[f"bare{name}"] = lambda o=options: self.bare(o)

    def ours(self, augmentation: dict, options: dict) -> Callable[[], Seconds]:
        """Return a run of our loop, from packed images on disk."""
        device = prepare("cpu", torch.get_num_threads())
        recipe = Recipe(
            epochs=1, batch_size=BATCH, lr=0.01, select="last", **augmentation, **options
        )
        packed, rows = PackedImages(self.path), numpy.arange(self.images)
        data = Timed(packed, rows, self.labels, self.spec, device, recipe)
        model = build_model(self.spec, CLASSES)

        def epoch() -> Seconds:
            begun = clock()
            fit(model, recipe, data, None, seed=0)
            return data.seconds, clock() - begun - data.seconds

        return epoch

    def plain(self, heavy: bool, workers: int) -> Callable[[], Seconds]:
        """Return a run of the plain loop, from an array in memory."""
        pictures = Pictures(numpy.load(self.path), self.labels, heavy)
        some = torch.utils.data.Subset(pictures, range(self.images))
        loader = torch.utils.data.DataLoader(
            some, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
        return self.steps(lambda: loader)

    def bare(self, options: dict) -> Callable[[], Seconds]:
        """Return a run of the steps alone, on tensors in memory, in a process set up as ours."""
        prepare("cpu", torch.get_num_threads())
        images, labels = torch.randn(BATCH, 3, *self.px), torch.from_numpy(self.labels[:BATCH])
        channels_last = options.get("channels_last", True)
        if channels_last:
            images = images.to(memory_format=torch.channels_last)
        batches = lambda: ((images, labels) for _ in range(self.images // BATCH))  # noqa: E731
        return self.steps(batches, channels_last=channels_last, bf16="amp" in options, fused=True)

    @property
    def px(self) -> tuple[int, int]:
        """Return the sides of the images."""
        return numpy.load(self.path, mmap_mode="r").shape[-2:]

    def steps(
        self,
        batches: Callable[[], Iterator[Batch]],
        *,
        channels_last: bool = False,
        bf16: bool = False,
        fused: bool = False,
    ) -> Callable[[], Seconds]:
        """Return an epoch of plain steps on batches."""
        model = build_model(self.spec, CLASSES).train()
        if channels_last:
            model.to(memory_format=torch.channels_last)
        optimiser = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=fused
        )

        def epoch() -> Seconds:
            begun = clock()
            for images, labels in batches():
                optimiser.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = functional.cross_entropy(model(images), labels)
                loss.backward()
                optimiser.step()
            return clock() - begun, 0.0

        return epoch


class Contender:
    """One loop in a process of its own, which runs an epoch whenever it is told to."""

    def __init__(self, name: str, folder: str, arguments: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--alone", name, folder]
        command += ["--images", str(arguments.images), "--threads", str(arguments.threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.peak_mib = 0.0

    def epoch(self) -> Seconds:
        """Run an epoch."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        steps, rest, self.peak_mib = json.loads(self.process.stdout.readline())
        return steps, rest

    def end(self) -> None:
        """Let the process end."""
        self.process.communicate()


def alone(run: Callable[[], Seconds]) -> None:
    """Run an epoch for each line of the input; print its seconds and this process's peak memory."""
    for _ in sys.stdin:
        steps, rest = run()
        # Not getrusage: a child begins with the peak of the process that it was forked from.
        status = Path("/proc/self/status").read_text()
        print(json.dumps([steps, rest, int(status.split("VmHWM:")[1].split()[0]) / 1024]))
        sys.stdout.flush()


def rows_of(rounds: list[dict[str, Seconds]], images: int) -> list[dict[str, object]]:
    """Return one row for each loop, from the seconds of each round."""

    def middle(value: Callable[[dict[str, Seconds]], float], places: int = 3) -> float:
        return round(statistics.median(value(found) for found in rounds), places)

    rows = []
    for name in rounds[0]:
        kind, _, rest = name.partition("_")
        row: dict[str, object] = {
            "loop": name,
            "images_per_second": middle(lambda found, n=name: images / found[n][0], 1),
        }
        if kind != "bare":
            plain = [other for other in rounds[0] if other.startswith(f"{kind}_plain")]
            bare = f"bare{rest.removeprefix('ours')}" if rest.startswith("ours") else "bare"
            row["times_faster_than_plain"] = middle(
                lambda found, n=name, p=plain: min(found[other][0] for other in p) / found[n][0]
            )
            row["share_of_bare"] = middle(lambda found, n=name, b=bare: found[b][0] / found[n][0])
        if rest.startswith("ours"):
            row["rest_seconds"] = middle(lambda found, n=name: found[n][1])
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=16 * BATCH, help="of an epoch")
    parser.add_argument("--px", type=int, default=32)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        name, folder = arguments.alone
        alone(Loops(Path(folder), arguments.images).makers[name]())
        return
    with tempfile.TemporaryDirectory() as folder:
        draw = numpy.random.default_rng(0)
        packed = draw.integers(0, 256, (PACKED, 3, *[arguments.px] * 2), dtype=numpy.uint8)
        numpy.save(Path(folder) / "images.npy", packed)
        names = Loops(Path(folder), arguments.images).makers
        contenders = {name: Contender(name, folder, arguments) for name in names}
        for contender in contenders.values():
            contender.epoch()
        rounds = [
            {name: contender.epoch() for name, contender in contenders.items()}
            for _ in range(arguments.rounds)
        ]
        for contender in contenders.values():
            contender.end()
    rows = rows_of(rounds, arguments.images)
    for row in rows:
        row["peak_mib"] = round(contenders[row["loop"]].peak_mib, 1)
        print(", ".join(f"{key} {value}" for key, value in row.items() if value is not None))
    write(rows, arguments, packed.nbytes / 2**20)


def write(rows: list[dict[str, object]], arguments: argparse.Namespace, packed_mib: float) -> None:
    """Write the rows, after a line that says where and how."""
    columns = list({key: None for row in rows for key in row})
    information = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in information if "model name" in line]
    about = {
        "processor": names[0],
        "cores": os.cpu_count(),
        "threads": arguments.threads,
        "clock": "processor" if arguments.threads == 1 else "wall",
        "torch": torch.__version__,
        "model": f"ResNet-18 at {arguments.px} px",
        "batch": BATCH,
        "images of an epoch": arguments.images,
        "rounds": arguments.rounds,
        "packed images": f"{packed_mib:.1f} MiB",
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    path = RESULTS / f"training_threads{arguments.threads}.csv"
    with path.open("w", newline="") as file:
        file.write("# " + ", ".join(f"{key}: {value}" for key, value in about.items()) + "\n")
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
