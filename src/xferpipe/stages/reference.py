"""The reference stage: the probe images through the small network trained on the target."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.jobs import ReferenceJob
from xferpipe.stages.features import features


def reference(
    job: ReferenceJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    weights: Path,
    reference: Path,
) -> None:
    """Write the features that RSA compares those of a model with.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the target.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        weights: Weights of the network that was fine-tuned on the target.
        reference: Written: what stage `features` writes.
    """
    features(job, manifest=manifest, images=images, root=root, weights=weights, features=reference)
