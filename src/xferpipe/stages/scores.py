"""Stage: every score of one (target, shots, model), from cached features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import polars

from xferpipe.config.jobs import ScoresJob
from xferpipe.records import RecordError, read_metadata, read_table, read_tensors, write_table
from xferpipe.scores.score_table import compute


def scores(
    job: ScoresJob,
    *,
    features: Path,
    card: Path,
    class_means: Path,
    gradients: Path | None = None,
    reference: Path | None = None,
    scores: Path,
) -> None:
    """Compute a model's scores on a target.

    Args:
        job: What to compute.
        features: `features.safetensors` of the probe images under the model.
        card: `card.parquet` of the model.
        class_means: `class_means.safetensors` of the model.
        gradients: `gradients.safetensors` of the model, where LGC or further layers are asked for.
        reference: `features.safetensors` of a small network trained on the target, for RSA.
        scores: Written: table `scores`.
    Raises:
        RecordError: A file is damaged, or has no tensor of a name and shape that its stage writes.
        ValueError: The features do not fit each other, or the gradients are of other images.
    """
    probe = tensors(features, features=2, logits=2, labels=1, rows=1)
    facts = read_table("zoo", card).row(0, named=True)
    table = compute(
        probe["features"],
        probe["labels"],
        job.scores.methods,
        softmax(probe["logits"]) if probe["logits"].shape[1] else None,
        bootstrap_samples=job.scores.bootstrap_samples,
        bootstrap_methods=job.scores.bootstrap_methods,
        confidence=job.scores.confidence,
        probe_sizes=job.scores.probe_sizes,
        source_accuracy=facts["source_accuracy"],
        parameters=facts["parameters"],
        minimum_class_images=job.scores.minimum_class_images,
        seed=job.seed,
        learning_rate=job.scores.learning_rate,
        steps=job.scores.steps,
        **_source(class_means),
        **_grams(gradients, probe["rows"]),
        **_reference(reference, probe["rows"]),
    )
    table = table.with_columns(
        target=polars.lit(job.target),
        shots=polars.lit(str(job.shots)),
        model=polars.lit(job.model),
        feature_seconds=polars.lit(seconds_of(features)),
    )
    write_table("scores", table, scores)


def tensors(path: Path, **dimensions: int) -> dict[str, numpy.ndarray]:
    """Read every tensor of a safetensors file; `dimensions` names those that must be there."""
    held = read_tensors(path)[0]
    for name, expected in dimensions.items():
        found = f"of shape {held[name].shape}" if name in held else "not there"
        if name not in held or held[name].ndim != expected:
            raise RecordError(
                f"{path}: tensor {name!r} is {found}, expected {expected} dimensions; delete the "
                "file to rebuild it"
            )
    return held


def seconds_of(features: Path) -> float:
    """Return the seconds of a feature pass, from the file that it wrote."""
    text = read_metadata(features).get("seconds", "")
    try:
        return float(text)
    except ValueError:
        raise RecordError(
            f"{features}: its metadata say {text!r} seconds, expected a number; delete it to "
            "rebuild it"
        ) from None


def softmax(logits: numpy.ndarray) -> numpy.ndarray:
    """Return the softmax of each row, in float64."""
    logits = logits.astype(numpy.float64)
    exponentials = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _source(class_means: Path) -> dict[str, Any]:
    """Return the source's class means and counts; nothing where there is no source."""
    source = tensors(class_means, class_means=2, class_counts=1)
    if not len(source["class_counts"]):
        return {}
    return {"class_means": source["class_means"], "class_counts": source["class_counts"]}


def _grams(gradients: Path | None, rows: numpy.ndarray) -> dict[str, Any]:
    """Return Gram matrices by kind and name."""
    if gradients is None:
        return {}
    held = tensors(gradients, rows=1)
    _same_images(gradients, held["rows"], rows)
    kinds = {"gradient_grams": "gram:", "layer_grams": "layer:"}
    found = {
        kind: {
            name.removeprefix(start): gram for name, gram in held.items() if name.startswith(start)
        }
        for kind, start in kinds.items()
    }
    return {kind: grams for kind, grams in found.items() if grams}


def _reference(reference: Path | None, rows: numpy.ndarray) -> dict[str, Any]:
    if reference is None:
        return {}
    held = tensors(reference, features=2, rows=1)
    _same_images(reference, held["rows"], rows)
    return {"reference_features": held["features"]}


def _same_images(path: Path, found: numpy.ndarray, expected: numpy.ndarray) -> None:
    if not numpy.array_equal(found, expected):
        raise ValueError(
            f"{path} is of other images than the features: {len(found)} rows against "
            f"{len(expected)}; delete it to rebuild it"
        )
