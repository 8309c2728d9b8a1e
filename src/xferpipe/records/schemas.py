"""Every table that xferpipe writes: column, type, unit and meaning, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars

TEXT, INTEGER, REAL, FLAG = polars.String, polars.Int64, polars.Float64, polars.Boolean
BYTES = polars.Binary


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: Any
    unit: str
    meaning: str


def _columns(*rows: tuple[str, Any, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


_RUN = _columns(
    ("target", TEXT, "", "Target data set."),
    ("shots", TEXT, "images/class", "Training images per class, or `full`."),
    ("model", TEXT, "", "Zoo entry."),
    ("recipe", TEXT, "", "Fine-tuning recipe."),
    ("seed", INTEGER, "", "Seed of the run."),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "manifest": _columns(
        ("row", INTEGER, "", "Position, 0-based; the row of the packed images."),
        ("path", TEXT, "", "File below the data set's root; null where images are no files."),
        (
            "index",
            INTEGER,
            "",
            "Position in the format's own storage; null where images are files.",
        ),
        ("label", INTEGER, "", "Class label, 0-based; the dense identity for re-identification."),
        ("class_name", TEXT, "", "Name of the class or the identity."),
        ("split", TEXT, "", "train, validation, test, query or gallery."),
        ("identity", INTEGER, "", "Identity as the data set numbers it; null without one."),
        ("camera", INTEGER, "", "Camera as the data set numbers it; null without one."),
        ("sequence", INTEGER, "", "Track or encounter that the image is of; null without one."),
    ),
    "zoo": _columns(
        ("model", TEXT, "", "Zoo entry."),
        ("architecture", TEXT, "", "Architecture."),
        ("weights", TEXT, "", "Origin as in the study; an expert's with its mode."),
        ("source", TEXT, "", "Data set of the pretraining."),
        ("recipe", TEXT, "", "Pretraining recipe."),
        ("parameters", INTEGER, "count", "Parameters of the model without its classifier."),
        ("feature_dimension", INTEGER, "count", "Features before the classifier."),
        ("source_classes", INTEGER, "count", "Classes of the source; null without one."),
        ("source_images", INTEGER, "count", "Training images of the source."),
        ("source_accuracy", REAL, "fraction", "Accuracy on the source's test split."),
        ("licence", TEXT, "", "Licence of the weights."),
        ("source_licence", TEXT, "", "Licence of the source's images."),
        ("seconds", REAL, "s", "Time that pretraining took."),
    ),
    "targets": _columns(
        ("target", TEXT, "", "Target."),
        ("dataset", TEXT, "", "Data set of its images."),
        ("task", TEXT, "", "classification or retrieval."),
        ("licence", TEXT, "", "Licence of its images; null where the study does not state it."),
    ),
    "scores": _columns(
        ("target", TEXT, "", "Target data set."),
        ("shots", TEXT, "images/class", "Training images per class, or `full`."),
        ("model", TEXT, "", "Zoo entry."),
        ("method", TEXT, "", "Score."),
        ("variant", TEXT, "", "Options of the score; empty for its default."),
        ("value", REAL, "", "Score; null where it is undefined. Higher predicts better transfer."),
        ("reason", TEXT, "", "Why `value` is null."),
        ("low", REAL, "", "Lower end of the bootstrap interval over probe images."),
        ("high", REAL, "", "Upper end of the bootstrap interval over probe images."),
        ("probe_images", INTEGER, "count", "Probe images."),
        ("seconds", REAL, "s", "Time of this score alone, all but the feature pass."),
        ("feature_seconds", REAL, "s", "Time of the feature pass, which the scores share."),
        ("peak_bytes", INTEGER, "B", "Peak of memory allocated by this score alone."),
    ),
    "finetunes": _RUN
    + _columns(
        ("task", TEXT, "", "classification or retrieval."),
        ("judged_by", TEXT, "", "accuracy, balanced_accuracy, macro_f1 or map: as the study says."),
        ("status", TEXT, "", "finished or diverged."),
        ("reason", TEXT, "", "Why a run diverged."),
        ("epochs", INTEGER, "count", "Epochs trained."),
        ("best_epoch", INTEGER, "", "Epoch of the best validation figure, 1-based; or null."),
        ("kept_epoch", INTEGER, "", "Epoch whose weights were kept; `selected_on` says why."),
        ("overfitting_epoch", INTEGER, "", "First epoch after the best that is worse; or null."),
        ("drop", REAL, "fraction", "Best validation figure minus that of the last epoch."),
        ("selected_on", TEXT, "", "Split that the epoch was chosen on; none: the last is kept."),
        ("validation_images", INTEGER, "count", "Images held out to choose on; 0: none."),
        ("validation_accuracy", REAL, "fraction", "At the chosen epoch."),
        ("validation_balanced_accuracy", REAL, "fraction", "Mean recall of the classes."),
        ("validation_macro_f1", REAL, "fraction", "Mean F1 of the classes."),
        ("validation_majority_rate", REAL, "fraction", "Share of the most frequent class."),
        ("validation_loss", REAL, "nats", "At the chosen epoch."),
        (
            "validation_map",
            REAL,
            "fraction",
            "Of a retrieval target: mAP of held-out identities at the chosen epoch.",
        ),
        ("test_images", INTEGER, "count", "Images of the test split."),
        ("test_accuracy", REAL, "fraction", "Of the chosen epoch's weights on the test split."),
        ("test_balanced_accuracy", REAL, "fraction", "Mean recall of the classes."),
        ("test_macro_f1", REAL, "fraction", "Mean F1 of the classes."),
        ("test_majority_rate", REAL, "fraction", "Share of the most frequent class."),
        ("test_loss", REAL, "nats", "Of the chosen epoch's weights on the test split."),
        ("train_accuracy", REAL, "fraction", "Over the last epoch, in training mode."),
        ("train_images", INTEGER, "count", "Images trained on."),
        ("seconds", REAL, "s", "Training and evaluation, start-up excluded."),
        ("images_per_second", REAL, "1/s", "Training throughput."),
        ("micro_batch_size", INTEGER, "count", "Images of one pass; less than asked: memory."),
        ("compute_threads", INTEGER, "count", "Threads the run computed with."),
        ("device", TEXT, "", "cpu, or the GPU's name."),
        ("torch_version", TEXT, "", "Version of torch."),
    ),
    "epochs": _columns(
        ("stage", TEXT, "", "pretrain or finetune."),
        ("target", TEXT, "", "Target, or the source of a pretraining; an expert's, by commas."),
        ("shots", TEXT, "images/class", "Training images per class, or `full`."),
        ("model", TEXT, "", "Zoo entry."),
        ("recipe", TEXT, "", "Recipe."),
        ("seed", INTEGER, "", "Seed of the run."),
        ("epoch", INTEGER, "", "Epoch, 1-based."),
        ("learning_rate", REAL, "", "At the epoch's last step."),
        ("train_loss", REAL, "nats", "Mean over the epoch."),
        ("train_accuracy", REAL, "fraction", "Mean over the epoch, in training mode."),
        ("validation_loss", REAL, "nats", "After the epoch; null without a validation split."),
        ("validation_accuracy", REAL, "fraction", "After the epoch."),
        ("validation_balanced_accuracy", REAL, "fraction", "After the epoch."),
        ("validation_macro_f1", REAL, "fraction", "After the epoch."),
        ("validation_map", REAL, "fraction", "After the epoch; of a retrieval target."),
        (
            "distance",
            REAL,
            "",
            "Euclidean distance of the evaluated weights from the initial ones.",
        ),
        (
            "distance_without_normalisation",
            REAL,
            "",
            "The same without the scales and shifts of normalisation layers.",
        ),
        ("micro_batch_size", INTEGER, "count", "Images of one pass at the end of the epoch."),
        ("seconds", REAL, "s", "Time of the epoch."),
    ),
    "predictions": _RUN
    + _columns(
        ("split", TEXT, "", "validation (weights of the kept epoch) or test."),
        ("row", INTEGER, "", "Row of the image in the manifest; the order within a split."),
        ("label", INTEGER, "", "Class of the image, 0-based in the order of the target's classes."),
        ("predicted", INTEGER, "", "Class of the highest logit."),
        ("probability_label", REAL, "fraction", "Softmax probability of `label`."),
        ("probability_predicted", REAL, "fraction", "Softmax probability of `predicted`."),
    ),
    "class_recalls": _RUN
    + _columns(
        ("split", TEXT, "", "validation (weights of the kept epoch) or test."),
        ("class_name", TEXT, "", "Name of the class."),
        ("label", INTEGER, "", "Class, 0-based, as in `predictions`."),
        ("images", INTEGER, "count", "Images of the class in the split."),
        ("recall", REAL, "fraction", "Share of them that are classified right; null without any."),
    ),
    "validation_queries": _RUN
    + _columns(
        ("row", INTEGER, "", "Row of the query in the manifest: an image of a held-out identity."),
        ("identity", INTEGER, "", "Identity of the query."),
        ("camera", INTEGER, "", "Camera of the query."),
        ("junk_rule", TEXT, "", "same_camera, same_sequence or none."),
        ("positives", INTEGER, "count", "Held-out images of the identity that are no junk."),
        ("ap", REAL, "fraction", "At the chosen epoch; null without a positive."),
    ),
    "retrieval": _RUN
    + _columns(
        ("distance", TEXT, "", "euclidean or cosine."),
        ("normalised", FLAG, "", "Features scaled to unit length first."),
        ("ap_kind", TEXT, "", "step or trapezoid."),
        ("junk_rule", TEXT, "", "same_camera, same_sequence, index_lists or none."),
        ("query_expansion", INTEGER, "count", "Nearest images averaged into each query; 0: none."),
        ("reranked", FLAG, "", "After k-reciprocal re-ranking."),
        ("rank1", REAL, "fraction", "Queries whose first non-junk result is right."),
        ("rank5", REAL, "fraction", "Queries with a right result in the first 5."),
        ("rank10", REAL, "fraction", "Queries with a right result in the first 10."),
        ("rank20", REAL, "fraction", "Queries with a right result in the first 20."),
        ("map", REAL, "fraction", "Mean average precision."),
        ("minp", REAL, "fraction", "Mean inverse negative penalty."),
        ("queries", INTEGER, "count", "Queries with a positive, which the means are over."),
        ("queries_without_positive", INTEGER, "count", "Queries left out of the means."),
        ("gallery", INTEGER, "count", "Gallery images."),
        ("draws", INTEGER, "count", "Random galleries that the figures are means over; else 1."),
        ("rank1_deviation", REAL, "fraction", "Standard deviation over the draws; null for one."),
        ("rank5_deviation", REAL, "fraction", "Standard deviation over the draws; null for one."),
        ("map_deviation", REAL, "fraction", "Standard deviation over the draws; null for one."),
        ("minp_deviation", REAL, "fraction", "Standard deviation over the draws; null for one."),
        ("reason", TEXT, "", "Why the figures are null."),
        ("seconds", REAL, "s", "Embedding and ranking."),
    ),
    "retrieval_queries": _RUN
    + _columns(
        ("reranked", FLAG, "", "After k-reciprocal re-ranking."),
        ("draw", INTEGER, "", "Random gallery, 0-based; 0 where there is one."),
        ("query", INTEGER, "", "Row of the query in the manifest."),
        ("path", TEXT, "", "File of the query."),
        ("identity", INTEGER, "", "Identity of the query."),
        ("camera", INTEGER, "", "Camera of the query."),
        ("ap", REAL, "fraction", "Average precision; null without a positive."),
        ("inp", REAL, "fraction", "Inverse negative penalty; null without a positive."),
        ("first_hit", INTEGER, "", "Rank of the first right result, 1-based; 0 without one."),
        ("positives", INTEGER, "count", "Gallery images of the identity that are no junk."),
        ("junk", INTEGER, "count", "Gallery images left out for this query."),
        ("example", TEXT, "", "worst, median or best by `ap` for queries that are shown."),
        ("thumbnail", BYTES, "", "JPEG of the query where it is shown."),
    ),
    "camera_pairs": _RUN
    + _columns(
        ("query_camera", INTEGER, "", "Camera of the queries."),
        ("gallery_camera", INTEGER, "", "Camera that the gallery is cut to."),
        ("queries", INTEGER, "count", "Queries with a positive there."),
        ("gallery", INTEGER, "count", "Gallery images of that camera."),
        ("rank1", REAL, "fraction", "Queries whose first non-junk result is right."),
        ("map", REAL, "fraction", "Mean average precision."),
    ),
    "ranked_lists": _RUN
    + _columns(
        ("reranked", FLAG, "", "After k-reciprocal re-ranking."),
        ("query", INTEGER, "", "Row of the query in the manifest."),
        ("rank", INTEGER, "", "1-based; junk keeps its place in the list."),
        ("gallery", INTEGER, "", "Row of the gallery image in the manifest."),
        ("path", TEXT, "", "File of the gallery image."),
        ("distance", REAL, "", "Distance of the two."),
        ("match", FLAG, "", "Same identity."),
        ("junk", FLAG, "", "Left out of the figures."),
        ("thumbnail", BYTES, "", "JPEG of the gallery image where its query is shown."),
    ),
    "selection": _columns(
        ("target", TEXT, "", "Target data set."),
        ("shots", TEXT, "images/class", "Training images per class, or `full`."),
        ("recipe", TEXT, "", "Recipe; `best` and `best_on_test` take each model's best."),
        ("metric", TEXT, "", "What the fine-tunes are judged by: `judged_by`, or speed."),
        ("method", TEXT, "", "Score, `random` (closed form over all orders) or `noise_ceiling`."),
        ("variant", TEXT, "", "Options of the score."),
        ("models", INTEGER, "count", "Models with both a score and a fine-tune."),
        ("spearman", REAL, "", "Rank correlation of score and metric over models."),
        ("spearman_low", REAL, "", "Lower end of its bootstrap interval over models."),
        ("spearman_high", REAL, "", "Upper end of its bootstrap interval over models."),
        ("weighted_kendall", REAL, "", "Weighted Kendall correlation (hyperbolic, additive)."),
        ("weighted_kendall_low", REAL, "", "Lower end of its interval."),
        ("weighted_kendall_high", REAL, "", "Upper end of its interval."),
        ("kendall", REAL, "", "Kendall's tau-b."),
        ("kendall_low", REAL, "", "Lower end of its interval."),
        ("kendall_high", REAL, "", "Upper end of its interval."),
        ("pearson", REAL, "", "Pearson correlation."),
        ("pearson_low", REAL, "", "Lower end of its interval."),
        ("pearson_high", REAL, "", "Upper end of its interval."),
        ("trials", REAL, "count", "Fine-tunes until the best model, in score order."),
        ("regret", REAL, "fraction", "Best metric minus that of the model scored first."),
        ("top_model", TEXT, "", "Model that the score puts first."),
        ("best_model", TEXT, "", "Model that fine-tunes best."),
        ("reason", TEXT, "", "Why a figure is null."),
        ("seconds", REAL, "s", "Time to score every model, feature passes included."),
    ),
    "gains": _columns(
        ("target", TEXT, "", "Target data set."),
        ("shots", TEXT, "images/class", "Training images per class, or `full`."),
        ("recipe", TEXT, "", "Recipe of the fine-tunes."),
        ("metric", TEXT, "", "What the fine-tunes are judged by."),
        ("method", TEXT, "", "Score; `random` is the closed form over all orders."),
        ("variant", TEXT, "", "Options of the score."),
        ("k", INTEGER, "count", "Models fine-tuned, first in score order."),
        ("best_of_k", REAL, "fraction", "Best metric among them."),
        ("gain", REAL, "fraction", "`best_of_k` minus the reference model's metric."),
        ("best_gain", REAL, "fraction", "The most that any model gains."),
        ("relative", REAL, "fraction", "Rel@k: `best_of_k` over the best of all models."),
        ("seconds", REAL, "s", "Scoring all models and fine-tuning these k."),
    ),
    "choices": _columns(
        ("target", TEXT, "", "Target that is left out."),
        ("shots", TEXT, "images/class", "Training images per class, or `full`."),
        ("recipe", TEXT, "", "Recipe of the fine-tunes."),
        ("metric", TEXT, "", "What the target left out is judged by."),
        ("method", TEXT, "", "Score with the best mean Spearman correlation on other targets."),
        ("variant", TEXT, "", "Options of the score."),
        ("targets", INTEGER, "count", "Other targets that the choice rests on."),
        ("spearman_elsewhere", REAL, "", "Its mean over them."),
        ("spearman", REAL, "", "Its correlation on the target left out."),
        ("best_method", TEXT, "", "Score that would have been best on the target left out."),
        ("best_variant", TEXT, "", "Options of that score."),
        ("best_spearman", REAL, "", "Correlation of that score."),
        ("regret", REAL, "fraction", "Of the chosen score on the target left out."),
    ),
    "efficiency": _columns(
        ("target", TEXT, "", "Target data set."),
        ("shots", TEXT, "images/class", "Training images per class, or `full`."),
        ("metric", TEXT, "", "What the fine-tunes are judged by."),
        ("strategy", TEXT, "", "zoo: one run of each model; search: recipes of the reference."),
        ("model", TEXT, "", "Reference model of `search`; null for the zoo."),
        ("recipe", TEXT, "", "Recipe of the zoo's runs; null for the search."),
        ("method", TEXT, "", "Score that orders the zoo; `random` for the search."),
        ("variant", TEXT, "", "Options of the score."),
        ("runs", INTEGER, "count", "Fine-tunes spent."),
        ("value", REAL, "fraction", "Expected metric of the run that validates best."),
        ("seconds", REAL, "s", "Expected time of scoring and of these runs."),
    ),
    "minimisers": _columns(
        ("phase", TEXT, "", "pretrained or finetuned."),
        ("dataset", TEXT, "", "Source of a pretrained solution, or target of a fine-tuned one."),
        ("shots", TEXT, "images/class", "Of the fine-tune; null for a pretrained solution."),
        ("model", TEXT, "", "Zoo entry."),
        ("recipe", TEXT, "", "Fine-tuning recipe; null for a pretrained solution."),
        ("seed", INTEGER, "", "Seed of the fine-tune, or of the study."),
        ("split", TEXT, "", "Split of the probed images; null for a figure of the weights alone."),
        ("probe", TEXT, "", "clean, noise, mask, fgsm, energy or weights."),
        ("intensity", REAL, "", "Deviation, side, step or sigma; 0 where nothing is perturbed."),
        ("measure", TEXT, "", "accuracy, error, loss; their rise for energy; norm of the weights."),
        ("value", REAL, "", "Fraction for accuracy and error, nats for loss."),
        ("low", REAL, "", "Lower end of the interval."),
        ("high", REAL, "", "Upper end of the interval."),
        ("interval", TEXT, "", "What the interval is over: repeats, images or none."),
        ("repeats", INTEGER, "count", "Draws behind the figure."),
        ("images", INTEGER, "count", "Images behind the figure."),
        ("refreshed", FLAG, "", "Batch-norm statistics were recomputed."),
        ("seconds", REAL, "s", "Time of the pass over intensities and repeats that gave it."),
    ),
    "distances": _columns(
        ("first", TEXT, "", "Zoo entry."),
        ("second", TEXT, "", "Zoo entry."),
        ("normalisation", FLAG, "", "Scales and biases of normalisation layers are counted."),
        ("distance", REAL, "", "Euclidean distance of the two solutions' weights."),
        ("norm_first", REAL, "", "Euclidean norm of the first."),
        ("norm_second", REAL, "", "Euclidean norm of the second."),
        ("cosine", REAL, "", "Cosine of the angle between them."),
    ),
    "paths": _columns(
        ("first", TEXT, "", "Zoo entry at t = 0."),
        ("second", TEXT, "", "Zoo entry at t = 1."),
        ("kind", TEXT, "", "straight, bezier or low_loss."),
        ("split", TEXT, "", "Split of the images."),
        ("t", REAL, "fraction", "Place on the way; for low_loss the part of the distance behind."),
        ("refreshed", FLAG, "", "Batch-norm statistics were recomputed; else the solution's own."),
        ("error", REAL, "fraction", "Error at t."),
        ("loss", REAL, "nats", "Loss at t."),
        ("error_barrier", REAL, "fraction", "Highest rise over the line of the ends, whole way."),
        ("loss_barrier", REAL, "nats", "Highest rise over the line of the ends, whole way."),
        ("images", INTEGER, "count", "Images behind the figures."),
    ),
    "forgetting": _columns(
        ("target", TEXT, "", "Target data set."),
        ("model", TEXT, "", "Zoo entry."),
        ("recipe", TEXT, "", "Fine-tuning recipe of each part."),
        ("seed", INTEGER, "", "Seed of the run."),
        ("part_by", TEXT, "", "classes or images."),
        ("trained", INTEGER, "", "Part trained last, 1-based; parts before it came earlier."),
        ("part", INTEGER, "", "Part that is evaluated, 1-based."),
        ("split", TEXT, "", "Split of the evaluated images."),
        ("accuracy", REAL, "fraction", "On the evaluated part, among all classes."),
        ("loss", REAL, "nats", "On the evaluated part."),
        ("forgotten", REAL, "fraction", "Accuracy when the part was trained, minus this one."),
        ("images", INTEGER, "count", "Images of the evaluated part."),
        ("reason", TEXT, "", "Why figures are null: training on the part diverged."),
    ),
    "feature_correlation": _RUN
    + _columns(
        ("moment", TEXT, "", "before, during or after fine-tuning."),
        ("epoch", INTEGER, "", "Epoch of the weights, 1-based; 0 before the first."),
        ("row", INTEGER, "", "Image, 0-based, sorted by class."),
        ("column", INTEGER, "", "Image, 0-based, sorted by class; never below `row`."),
        ("row_class", TEXT, "", "Class of the image at `row`."),
        ("column_class", TEXT, "", "Class of the image at `column`."),
        ("product", REAL, "", "Inner product of the two images' features."),
        ("lfc", REAL, "", "Label-feature correlation of this moment's whole matrix."),
    ),
    "partial_correlations": _columns(
        ("target", TEXT, "", "Target data set."),
        ("shots", TEXT, "images/class", "Training images per class, or `full`."),
        ("recipe", TEXT, "", "Recipe of the fine-tunes."),
        ("metric", TEXT, "", "What the fine-tunes are judged by."),
        ("method", TEXT, "", "Score, or property of the solution."),
        ("variant", TEXT, "", "Options of the score; probe, measure and intensity of a property."),
        ("given", TEXT, "", "What is held fixed: source_accuracy."),
        ("models", INTEGER, "count", "Models with all three figures."),
        ("spearman", REAL, "", "Rank correlation of method and metric over models."),
        ("partial", REAL, "", "The same with the ranks of `given` held fixed."),
        ("low", REAL, "", "Lower end of its bootstrap interval over models."),
        ("high", REAL, "", "Upper end of its bootstrap interval over models."),
        ("reason", TEXT, "", "Why a figure is null."),
    ),
    "runtime": _columns(
        ("stage", TEXT, "", "Rule."),
        ("job", TEXT, "", "Wildcards of the job, joined by `/`."),
        ("seconds", REAL, "s", "Wall time of the job, start-up included."),
        ("cpu_seconds", REAL, "s", "Processor time."),
        ("peak_mib", REAL, "MiB", "Peak resident memory."),
    ),
}

#: All that `aggregate` writes: a manifest is of one data set.
RESULT_TABLES = tuple(name for name in TABLES if name != "manifest")


def result_files(folder: Path) -> dict[str, Path]:
    """Return the files of the result tables in a folder, by table."""
    return {name: folder / f"{name}.parquet" for name in RESULT_TABLES}


def markdown() -> str:
    """Return `docs/tables.md`."""
    lines = [
        "# Tables",
        "",
        "Generated from `xferpipe.records` by `make docs`. Every table is a Parquet file; "
        "fractions run from 0 to 1. What the metadata holds is in [rebuilds](rebuilds.md).",
    ]
    for name, columns in TABLES.items():
        lines += [
            "",
            f"## {name}",
            "",
            "| column | type | unit | meaning |",
            "| --- | --- | --- | --- |",
        ]
        for column in columns:
            lines.append(f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning} |")
    return "\n".join(lines) + "\n"
