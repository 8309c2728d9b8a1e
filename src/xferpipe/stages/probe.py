"""The probe stage: one pretrained solution under perturbed images and perturbed weights."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from xferpipe.config.jobs import ProbeFinetunedJob, ProbeJob
from xferpipe.minimisers.distances import norms
from xferpipe.minimisers.energy import local_energy
from xferpipe.minimisers.perturbations import input_probes
from xferpipe.minimisers.probe_images import PixelClassifier, ProbeImages, figures_of
from xferpipe.minimisers.readings import Reading
from xferpipe.minimisers.sample import SourceImages
from xferpipe.minimisers.solution import refresh_batch_norm
from xferpipe.records import frame, write_table
from xferpipe.training.compute import prepare
from xferpipe.zoo.weights import load_model


def probe(
    job: ProbeJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    weights: Path,
    minimisers: Path,
) -> None:
    """Probe one pretrained solution on its source's test and training images.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the source.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        weights: Weights of the zoo entry, the source's classifier included.
        minimisers: Written: table `minimisers`.
    Raises:
        DatasetError: The images cannot be used.
        WeightsError: The weights do not fit the architecture.
    """
    device = prepare(job.device, job.compute_threads)
    source = SourceImages(
        job, seed=job.seed, manifest=manifest, images=images, root=root, device=device
    )
    parts = {"train": source.train(job.source), "test": source.test()}
    model = load_model(job.spec, weights)
    classifier = PixelClassifier(model, job.spec.mean, job.spec.std).to(device)
    about = {"phase": "pretrained", "dataset": job.source, "model": job.model, "seed": job.seed}
    rows = [about | row for row in probe_rows(classifier, parts, job)]
    rows += [about | row for row in _weight_rows(model)]
    write_table("minimisers", frame("minimisers", rows), minimisers)


def probe_rows(
    classifier: nn.Module, parts: Mapping[str, ProbeImages | None], job: ProbeJob
) -> list[dict[str, object]]:
    """Return the rows of every probe on every split.

    Args:
        classifier: Maps pixels in [0, 1] to logits.
        parts: Images by split; `train` also recomputes batch-norm statistics.
        job: Intensities, repeats and seed.
    """
    splits = {name: part for name, part in parts.items() if part is not None}
    rows = [row for name, part in splits.items() for row in input_rows(classifier, part, name, job)]
    refresh_images = splits["train"].in_batches_of(job.sample.refresh_batch_size)
    started = time.monotonic()
    readings = local_energy(
        classifier,
        figures_of(splits),  # splits share the perturbed weights and their refresh
        job.energy,
        seed=job.seed,
        images=sum(map(len, splits.values())),
        refresh=(lambda m: refresh_batch_norm(m, refresh_images)) if job.energy.refresh else None,
        confidence=job.confidence,
    )
    seconds = time.monotonic() - started
    for reading in readings:
        split, name = reading.measure.split()
        own = dataclasses.replace(reading, measure=name, images=len(splits[split]))
        rows.append(_row(own, split, seconds))
    return rows


def input_rows(
    classifier: nn.Module,
    images: ProbeImages,
    split: str,
    job: ProbeJob | ProbeFinetunedJob,
) -> list[dict[str, object]]:
    """Return the rows of every perturbation of the images, under the study's draws."""
    # The study's seed: fine-tunes of all seeds see the same noise.
    seed = job.study_seed if isinstance(job, ProbeFinetunedJob) else job.seed
    started = time.monotonic()
    readings = input_probes(classifier, images, job.inputs, seed=seed, confidence=job.confidence)
    seconds = time.monotonic() - started
    return [_row(reading, split, seconds) for reading in readings]


def _row(reading: Reading, split: str, seconds: float) -> dict[str, object]:
    return dataclasses.asdict(reading) | {"split": split, "seconds": seconds}


def _weight_rows(model: nn.Module) -> list[dict[str, object]]:
    return [
        {
            "probe": "weights",
            "intensity": 0.0,
            "measure": measure,
            "value": value,
            "interval": "none",
            "repeats": 1,
            "images": 0,
            "refreshed": False,
            "seconds": 0.0,
        }
        for measure, value in norms(model).items()
    ]
