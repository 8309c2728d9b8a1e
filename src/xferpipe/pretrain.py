"""The pretraining stage: train one zoo entry on its source and describe it."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.jobs import PretrainJob
from xferpipe.config.study import Target
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_images
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import frame, write_table
from xferpipe.training.checkpoint import Checkpoint, identity_of
from xferpipe.training.compute import prepare
from xferpipe.training.data import LabelledImages
from xferpipe.training.evaluate import embed, evaluate
from xferpipe.training.loop import fit
from xferpipe.zoo.build import build_model, replace_classifier
from xferpipe.zoo.card import class_means as means_of
from xferpipe.zoo.card import write_card, write_class_means
from xferpipe.zoo.weights import load_model, save_weights


class PretrainingError(RuntimeError):
    """A pretraining came to nothing that could be a zoo entry."""


def pretrain(
    job: PretrainJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    initial: Path | None,
    checkpoint: Path,
    weights: Path,
    card: Path,
    class_means: Path,
    epochs: Path,
) -> None:
    """Train a model on its source; write its weights, card and class means.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the source.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        initial: Weights to start from, their classifier excepted; None draws them.
        checkpoint: Written at intervals, read by a restarted run, removed at the end.
        weights: Written: weights, the source's classifier included.
        card: Written: one row of table `zoo`.
        class_means: Written: mean feature and count of each source class.
        epochs: Written: table `epochs`.
    Raises:
        PretrainingError: The loss became NaN or infinite.
        DatasetError: The images cannot be used.
        WeightsError: The initial weights do not fit the architecture.
    """
    device = prepare(job.device, job.compute_threads)
    rows = read_manifest(manifest)
    opened = open_images(rows, images, root, job.dataset.image_px, fit=job.dataset.fit)
    target = Target(dataset=job.source)

    def labelled(part: splits.LabelledRows) -> LabelledImages:
        return LabelledImages(opened, part.rows, part.labels, job.spec, device)

    chosen = splits.training_rows(rows, target, "full", job.seed)
    train = labelled(chosen)
    classes = len(chosen.class_names)
    if initial is None:
        model = build_model(job.spec, classes, seed=job.seed)
    else:
        model = load_model(job.spec, initial)
        replace_classifier(model, classes, seed=job.seed)
    saved = Checkpoint(checkpoint, identity_of(job))
    validation = labelled(splits.validation_rows(rows, target, job.seed))
    result = fit(
        model.to(device),
        job.recipe,
        train,
        validation,
        seed=job.seed,
        name=job.model,
        checkpoint=saved,
    )
    if result.diverged is not None:
        raise PretrainingError(
            f"pretraining of {job.model!r} diverged: {result.diverged}; lower lr "
            f"({job.recipe.lr:g}) or lengthen the warm-up of "
            f"pretraining_recipes.{job.recipe_name}"
        )
    # Sources of the re-identification kind are tested by other identities: no class accuracy.
    tested = (rows["split"] == "test").any()
    test = evaluate(model, labelled(splits.test_rows(rows, target))) if tested else None
    features, _ = embed(model, train)
    save_weights(model, weights)
    write_class_means(class_means, *means_of(features, train.labels, classes))
    about = {"model": job.model, "recipe": job.recipe_name}
    write_table(
        "epochs",
        frame(
            "epochs",
            [
                {"stage": "pretrain", "target": job.source, "shots": "full", "seed": job.seed}
                | about
                | row
                for row in result.rows
            ],
        ),
        epochs,
    )
    write_card(
        card,
        model,
        architecture=job.spec.architecture,
        weights="pretrain",
        source=job.source,
        source_classes=classes,
        source_images=len(train),
        source_accuracy=test.accuracy if test else None,
        seconds=result.seconds,
        **about,
    )
    saved.remove()
