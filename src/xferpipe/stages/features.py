"""The features stage: the probe images of a target through one model."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from xferpipe.config.jobs import FeaturesJob, ReferenceJob
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_dataset
from xferpipe.records.tensors import save_tensors
from xferpipe.training.compute import prepare
from xferpipe.training.evaluate import embed
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.resolve import resolve
from xferpipe.zoo.weights import load_model


def features(
    job: FeaturesJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    weights: Path,
    features: Path,
) -> None:
    """Write features, logits, labels and rows of a target's probe images.

    Args:
        job: The resolved slice; a reference network's images are sized as its recipe says.
        manifest: Table `manifest` of the target.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        weights: Weights of the zoo entry, or of the network trained on the target.
        features: Written: `features` float32 (n, d), `logits` float32 (n, z), `labels` int64 (n),
            `rows` int64 (n); metadata `seconds`, of the passes alone.
    Raises:
        DatasetError: The images cannot be used.
        WeightsError: The weights do not fit the architecture.
        ValueError: A feature is NaN or infinite.
    """
    device = prepare(job.device, job.compute_threads)
    rows, opened = open_dataset(job.dataset, manifest, images, root)
    probe = splits.probe_rows(rows, job.target, job.shots, job.probe, job.seed)
    recipe = None
    if isinstance(job, ReferenceJob):
        # The sizes of a hyper-rule follow from the images' side, not from their number.
        recipe = resolve(job.recipe, images=len(probe), image_px=job.dataset.image_px)
    split = LabelledImages(opened, probe.rows, probe.labels, job.spec, device, recipe)
    model = load_model(job.spec, weights).to(device)
    started = time.monotonic()
    found, logits = embed(model, split)
    seconds = time.monotonic() - started
    if not torch.isfinite(found).all():
        row = probe.rows[int((~torch.isfinite(found)).any(1).nonzero()[0])]
        raise ValueError(
            f"model {job.model} gives NaN or infinite features (first: row {row} of {manifest}); "
            f"its weights are damaged or want other preprocessing: check {weights}, mean and std"
        )
    content = {
        "features": found.contiguous(),
        "logits": logits.contiguous(),
        "labels": split.labels,
        "rows": torch.as_tensor(probe.rows, dtype=torch.int64),
    }
    save_tensors(content, {"seconds": repr(seconds)}, path=features)
