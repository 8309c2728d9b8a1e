"""The probe_finetuned stage: what fine-tuning leaves of a solution's robustness."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.jobs import ProbeFinetunedJob
from xferpipe.minimisers.probe_images import PixelClassifier
from xferpipe.minimisers.sample import SourceImages
from xferpipe.records import empty, frame, read_table, write_table
from xferpipe.stages.probe import input_rows
from xferpipe.training.compute import prepare
from xferpipe.zoo.weights import load_model


def probe_finetuned(
    job: ProbeFinetunedJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    weights: Path,
    run: Path,
    minimisers: Path,
) -> None:
    """Perturb the target's test images of one fine-tuned model.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the target.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        weights: Weights of the fine-tuned model.
        run: Its row of table `finetunes`; a run that diverged has no figures here.
        minimisers: Written: table `minimisers`.
    Raises:
        DatasetError: The images cannot be used.
        WeightsError: The weights do not fit the architecture.
    """
    if read_table("finetunes", run)["status"].item() == "diverged":
        write_table("minimisers", empty("minimisers"), minimisers)
        return
    device = prepare(job.device, job.compute_threads)
    target = SourceImages(
        job, seed=job.study_seed, manifest=manifest, images=images, root=root, device=device
    )
    classifier = PixelClassifier(load_model(job.spec, weights), job.spec.mean, job.spec.std)
    about = {
        "phase": "finetuned",
        "dataset": job.target_name,
        "shots": str(job.shots),
        "model": job.model,
        "recipe": job.recipe_name,
        "seed": job.seed,
    }
    found = input_rows(classifier.to(device), target.test(), "test", job)
    rows = [about | row for row in found]
    write_table("minimisers", frame("minimisers", rows), minimisers)
