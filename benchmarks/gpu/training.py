"""A ResNet-50 at 224 px on a GPU: our loop beside the bare step, and features of a probe."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy
import torch
from torch.nn import functional

COLUMNS = ("loop", "images_per_second", "share_of_bare", "peak_gib", "rounds", "note")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Images of an epoch and of the probe, images of a batch, side, architecture, classes.
FULL = (2048, 1000, 256, 224, "resnet50", 100)
QUICK = (16, 10, 8, 32, "resnet18", 10)


def _synchronised(device, function):
    """Return the seconds of a call, the device's work included."""
    begun = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


class Loops:
    """The loops that are compared, on packed random images in a folder."""

    def __init__(self, folder, device, size):
        from xferpipe.config.jobs import ModelSpec
        from xferpipe.training.compute import prepare

        self.images, self.probe, self.batch, self.px, name, self.classes = size
        self.device = prepare(device.type, torch.get_num_threads())
        self.path = Path(folder) / "images.npy"
        drawn = numpy.random.default_rng(0)
        shape = (self.images, 3, self.px, self.px)
        numpy.save(self.path, drawn.integers(0, 256, shape, dtype=numpy.uint8))
        self.labels = numpy.arange(self.images) % self.classes
        self.spec = ModelSpec(architecture=name, width=64, mean=MEAN, std=STD)

    def model(self):
        """Build the model on the device."""
        from xferpipe.zoo.build import build_model

        return build_model(self.spec, self.classes).to(self.device)

    def data(self, count, recipe=None):
        """Return the first images, as a job reads them."""
        from xferpipe.datasets.images import PackedImages
        from xferpipe.training.labelled import LabelledImages

        rows, labels = numpy.arange(count), self.labels[:count]
        packed = PackedImages(self.path)
        return LabelledImages(packed, rows, labels, self.spec, self.device, recipe)

    def ours(self, amp):
        """Return an epoch of our loop: images from disk, augmented, with the default recipe."""
        from xferpipe.config.recipes import Recipe
        from xferpipe.training.loop import fit

        recipe = Recipe(
            epochs=1, batch_size=self.batch, lr=0.01, select="last", amp=amp, horizontal_flip=0.5
        )
        model, data = self.model(), self.data(self.images, recipe)
        return lambda: fit(model, recipe, data, None, seed=0), self.images

    def bare(self, amp):
        """Return an epoch of steps on a batch that lies on the device."""
        model = self.model().train().to(memory_format=torch.channels_last)
        optimiser = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True
        )
        images = torch.randn((self.batch, 3, self.px, self.px), device=self.device)
        images = images.to(memory_format=torch.channels_last)
        labels = torch.from_numpy(self.labels[: self.batch]).to(self.device)

        def epoch():
            for _ in range(self.images // self.batch):
                optimiser.zero_grad()
                with torch.autocast(self.device.type, torch.bfloat16, enabled=amp == "bf16"):
                    loss = functional.cross_entropy(model(images), labels)
                loss.backward()
                optimiser.step()

        return epoch, self.images // self.batch * self.batch

    def features(self):
        """Return a pass over the probe: images from disk, features and logits to the CPU."""
        from xferpipe.training.evaluate import embed

        model, data = self.model(), self.data(self.probe)
        return lambda: embed(model, data), self.probe

    def bare_features(self):
        """Return passes over batches that lie on the device."""
        model = self.model().eval()
        images = torch.randn((self.batch, 3, self.px, self.px), device=self.device)
        passes = -(-self.probe // self.batch)

        @torch.inference_mode()
        def run():
            for _ in range(passes):
                model(images)

        return run, passes * self.batch


def rows(device, size, rounds):
    """Time the loops in turns and yield a row for each; bare ones are what ours are a share of."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _rows(Loops(folder, device, FULL if size == "full" else QUICK), rounds)
    except ImportError as missing:
        yield {"loop": "all", "note": f"not measured: {missing}"}


def _rows(loops, rounds):
    pairs = {
        "training, bf16": (lambda: loops.bare("bf16"), lambda: loops.ours("bf16")),
        "training, float32": (lambda: loops.bare("none"), lambda: loops.ours("none")),
        "features of the probe": (loops.bare_features, loops.features),
    }
    for name, makers in pairs.items():
        made, seconds, peaks = [make() for make in makers], ([], []), [0.0, 0.0]
        for number in range(rounds + 1):
            for i, (run, _) in enumerate(made):
                if loops.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(loops.device)
                taken = _synchronised(loops.device, run)
                if number:  # the first warms up
                    seconds[i].append(taken)
                if loops.device.type == "cuda":
                    peaks[i] = torch.cuda.max_memory_allocated(loops.device) / 2**30
        rates = [count / statistics.median(own) for (_, count), own in zip(made, seconds)]
        for i, kind in enumerate(("bare", "ours")):
            yield {
                "loop": f"{name}, {kind}",
                "images_per_second": f"{rates[i]:.1f}",
                "share_of_bare": f"{rates[i] / rates[0]:.3f}",
                "peak_gib": f"{peaks[i]:.2f}",
                "rounds": rounds,
            }
