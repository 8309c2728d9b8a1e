"""The expert stage: one network on several sources, each domain then a zoo entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xferpipe.config.jobs import ExpertJob
from xferpipe.config.study import Target
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_dataset
from xferpipe.records import frame, write_table
from xferpipe.stages.pretrain import PretrainingError
from xferpipe.training.checkpoint import Checkpoint, identity_of
from xferpipe.training.compute import prepare
from xferpipe.training.entry import test_split, write_entry
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.multi_domain import train_expert
from xferpipe.zoo.build import build_model
from xferpipe.zoo.domains import make_expert, take_domain
from xferpipe.zoo.weights import load_model


def expert(
    job: ExpertJob,
    *,
    manifests: Mapping[str, Path],
    images: Mapping[str, Path | None],
    roots: Mapping[str, Path | None],
    initial: Path | None,
    checkpoint: Path,
    domains: Path,
    epochs: Path,
) -> None:
    """Train an expert on all its sources and write each domain as a zoo entry.

    Args:
        job: The resolved slice.
        manifests: Table `manifest` of each source.
        images: Packed images of each source, or None to decode files.
        roots: Folder that the manifest paths of each source start from.
        initial: Weights to start from, their classifier excepted; None draws them.
        checkpoint: Written at intervals, read by a restarted run, removed at the end.
        domains: Written: a folder with one folder a source: weights.safetensors, card.parquet
            and class_means.safetensors.
        epochs: Written: table `epochs`, of all domains together.
    Raises:
        PretrainingError: The loss became NaN or infinite.
        DatasetError: The images cannot be used.
        ValueError: The mode needs layers that the architecture lacks.
    """
    device = prepare(job.device, job.compute_threads)
    parts: dict[str, dict[str, LabelledImages | None]] = {}
    for source, dataset in job.datasets.items():
        rows, opened = open_dataset(dataset, manifests[source], images[source], roots[source])
        target = Target(dataset=source)
        chosen = {
            "train": splits.training_rows(rows, target, "full", job.seed),
            "validation": splits.validation_rows(rows, target, job.seed),
            "test": test_split(rows),
        }
        parts[source] = {
            name: part
            and LabelledImages(opened, part.rows, part.labels, job.spec, device, job.recipe)
            for name, part in chosen.items()
        }
    classes = [int(part["train"].labels.max()) + 1 for part in parts.values()]
    if initial is None:
        model = build_model(job.spec, classes[0], seed=job.seed)
    else:
        model = load_model(job.spec, initial)
    make_expert(model, job.mode, classes, seed=job.seed)
    saved = Checkpoint(checkpoint, identity_of(job))
    result = train_expert(
        model.to(device),
        job.recipe,
        [part["train"] for part in parts.values()],
        [part["validation"] for part in parts.values()],
        images_per_domain=job.images_per_domain,
        seed=job.seed,
        name=job.expert,
        checkpoint=saved,
    )
    if result.diverged is not None:
        raise PretrainingError(
            f"training of expert {job.expert!r} diverged: {result.diverged}; lower lr "
            f"({job.recipe.lr:g}) or lengthen the warm-up of "
            f"pretraining_recipes.{job.recipe_name}"
        )
    for domain, (source, part) in enumerate(parts.items()):
        folder = domains / source
        write_entry(
            take_domain(model, domain),
            part["train"],
            part["test"],
            weights=folder / "weights.safetensors",
            card=folder / "card.parquet",
            class_means=folder / "class_means.safetensors",
            model_name=job.models[source],
            architecture=job.spec.architecture,
            origin=f"expert:{job.mode}",
            source=source,
            recipe=job.recipe_name,
            seconds=result.seconds,
        )
    name = {"stage": "pretrain", "shots": "full", "seed": job.seed, "recipe": job.recipe_name}
    name |= {"target": ",".join(parts), "model": job.expert}
    write_table("epochs", frame("epochs", [name | row for row in result.rows]), epochs)
    saved.remove()
