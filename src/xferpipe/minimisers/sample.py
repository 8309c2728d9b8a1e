"""Which images a job probes: the same number of every class, read once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import torch
from torch import Tensor

from xferpipe.config.jobs import PathJob, ProbeFinetunedJob, ProbeJob
from xferpipe.config.study import Target
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_dataset
from xferpipe.minimisers.probe_images import ProbeImages
from xferpipe.seeding import numpy_generator
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.resolve import resolve


def stratified(labels: numpy.ndarray, count: int, seed: int, *names: str) -> numpy.ndarray:
    """Choose positions so that classes differ by one image at most, where they have enough.

    Args:
        labels: int64 (n).
        count: Images wanted; all are taken where there are fewer.
        seed: Seed of the draw inside each class.
        names: Stream of the draw.
    Returns:
        Ascending positions, int64 (min(count, n)).
    """
    if count >= len(labels):
        return numpy.arange(len(labels))
    # Rounds: the k-th image of every class comes before the (k + 1)-th of any.
    rounds = numpy.empty(len(labels), dtype=numpy.int64)
    for label in numpy.unique(labels):
        members = numpy.flatnonzero(labels == label)
        generator = numpy_generator(seed, "minimisers", "sample", *names, int(label))
        rounds[generator.permutation(members)] = numpy.arange(len(members))
    # The last round is not whole: a seeded order decides which classes are in it.
    classes = numpy_generator(seed, "minimisers", "sample", *names, "classes")
    place = classes.permutation(labels.max() + 1)[labels]
    return numpy.sort(numpy.lexsort((place, rounds))[:count])


class SourceImages:
    """Images that a solution is probed on: those it was trained on, and the test split.

    Args:
        job: Its data set and sample, and the recipe whose evaluation sizes the images have.
        seed: Seed of the choice, and of the hold-out that training left aside.
        manifest: Table `manifest`.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        device: Where batches are given out.
    """

    def __init__(
        self,
        job: ProbeJob | ProbeFinetunedJob | PathJob,
        *,
        seed: int,
        manifest: Path,
        images: Path | None,
        root: Path | None,
        device: torch.device,
    ) -> None:
        self.rows, self.images = open_dataset(job.dataset, manifest, images, root)
        self.sample, self.seed, self.device = job.sample, seed, device
        # The sizes of a hyper-rule follow from the images' side, not from their number.
        self.recipe = resolve(job.recipe, images=1, image_px=job.dataset.image_px)
        # Pixels in [0, 1] as they are: the classifier that is probed normalises them itself.
        self.spec = job.spec.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})

    def training_rows(self, source: str) -> splits.LabelledRows:
        """Return every image that pretraining on `source` was done with."""
        return splits.training_rows(self.rows, Target(dataset=source), "full", self.seed)

    def train(self, source: str) -> ProbeImages:
        """Return the stratified part of the images that pretraining saw."""
        return self._read(self.training_rows(source), self.sample.train_images, "train")

    def test(self) -> ProbeImages | None:
        """Return the test images, or None where identities are tested and not classes."""
        rows = splits.split_rows(self.rows, "test")
        if not len(rows):
            return None
        return self._read(rows, self.sample.test_images or len(rows), "test")

    def _read(self, rows: splits.LabelledRows, count: int, name: str) -> ProbeImages:
        chosen = stratified(rows.labels, count, self.seed, name)
        parts = [
            # Bytes again, which is exact and takes a quarter of the memory.
            (pixels * 255).round_().to("cpu", torch.uint8)
            for pixels, _ in self._evaluated(rows, chosen).evaluation(self.sample.batch_size)
        ]
        return ProbeImages(
            torch.cat(parts),
            torch.from_numpy(rows.labels[chosen]),
            batch_size=self.sample.batch_size,
            device=self.device,
        )

    def _evaluated(self, rows: splits.LabelledRows, chosen: numpy.ndarray) -> LabelledImages:
        """Return some images at the size that the model is evaluated at."""
        return LabelledImages(
            self.images,
            rows.rows[chosen],
            rows.labels[chosen],
            self.spec,
            self.device,
            self.recipe,
        )

    def training_batches(
        self, source: str, batch_size: int, *names: str
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled batches of all training images, pixels and labels, without end."""
        rows = self.training_rows(source)
        generator = numpy_generator(self.seed, "minimisers", "search", *names)
        steps = max(1, len(rows) // batch_size)
        while True:
            order = generator.permutation(len(rows))
            for step in range(steps):
                chosen = order[step * batch_size : (step + 1) * batch_size]
                yield from self._evaluated(rows, chosen).evaluation(len(chosen))
