"""Tables of a study that never ran: plausible numbers in the real schemas, drawn from one seed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy
import polars
import pytest

from xferpipe.aggregate.answers import answers, places_of
from xferpipe.aggregate.earlier import Earlier
from xferpipe.config.jobs import ReportJob
from xferpipe.config.study import Selection
from xferpipe.evidence.answers import Asked
from xferpipe.records import TABLES, empty, frame, write_table
from xferpipe.seeding import numpy_generator

TARGETS = ("digits_high", "digits_few", "vehicles")
MODELS = (
    "digits_low_resnet8",
    "digits_low_resnet14",
    "letters_resnet8",
    "letters_resnet14",
    "shapes_resnet8",
    "textures_resnet8",
    "textures_resnet14",
    "random_resnet8",
)
METHODS = ("lfc", "lfc_centered", "leep", "knn", "linear_probe", "source_accuracy", "parameters")
RECIPES = ("gentle", "high_lr")
SEEDS = (0, 1, 2)
#: Training images of a target in the fixture's manifests; test images come after them.
TRAINED = 100
#: What the fixture's models are truly worth, before seed noise.
WORTH = dict(zip(MODELS, (0.93, 0.955, 0.90, 0.915, 0.85, 0.80, 0.82, 0.70), strict=True))


class StudyTables:
    """Builds a folder of tables; the arguments cut it down to the odd cases."""

    def __init__(
        self,
        *,
        targets: tuple[str, ...] = TARGETS,
        models: tuple[str, ...] = MODELS,
        recipes: tuple[str, ...] = RECIPES,
        seeds: tuple[int, ...] = SEEDS,
        diverged: bool = False,
        licences: tuple[str | None, ...] = ("CC0-1.0", "research only", None),
    ) -> None:
        self.targets, self.models, self.recipes, self.seeds = targets, models, recipes, seeds
        self.diverged, self.licences = diverged, licences

    def task(self, target: str) -> str:
        """Name the task of a target."""
        return "retrieval" if target == "vehicles" else "classification"

    def worth(self, target: str, model: str, recipe: str) -> float:
        """Give the noiseless figure of one run."""
        scale = 0.6 if self.task(target) == "retrieval" else 1.0
        return scale * WORTH[model] - (0.03 if recipe == "high_lr" else 0.0)

    def runs(self):
        """Yield every run's names."""
        for target in self.targets:
            for model in self.models:
                for recipe in self.recipes:
                    for seed in self.seeds:
                        yield {
                            "target": target,
                            "shots": "full",
                            "model": model,
                            "recipe": recipe,
                            "seed": seed,
                        }

    def rows(self) -> dict[str, list[dict]]:
        """Return the rows of every table."""
        self.random = numpy_generator(7, "report", "fixture")
        tables = {name: [] for name in TABLES if name != "manifest"}
        tables["zoo"] = [
            {
                "model": model,
                "architecture": "cifar_" + model.rsplit("_", 1)[-1],
                "weights": "random" if model.startswith("random") else "pretrain",
                "source": None if model.startswith("random") else model.rsplit("_", 1)[0],
                "recipe": None if model.startswith("random") else "short",
                "parameters": 77_000 if model.endswith("8") else 174_000,
                "feature_dimension": 64,
                "source_classes": None if model.startswith("random") else 8,
                "source_images": None if model.startswith("random") else 640,
                "source_accuracy": None if model.startswith("random") else 0.97,
                "licence": "CC-BY-4.0",
                "source_licence": None if model.startswith("random") else "ODbL-1.0",
                "seconds": None if model.startswith("random") else 11.5,
                "milliseconds": 0.7 if model.endswith("8") else 1.9,
            }
            for model in self.models
        ]
        tables["targets"] = [
            {"target": target, "dataset": target, "task": self.task(target), "licence": licence}
            for target, licence in zip(self.targets, self.licences, strict=False)
        ]
        metric: dict[tuple[str, str], list[float]] = {}
        for run in self.runs():
            value = self.worth(run["target"], run["model"], run["recipe"])
            value += float(self.random.normal(0, 0.006))
            if run["recipe"] == "gentle":
                metric.setdefault((run["target"], run["model"]), []).append(value)
            self._finetune(tables, run, value)
            if self.task(run["target"]) == "retrieval" and not self.diverged:
                self._retrieval(tables, run, value)
        means = {key: float(numpy.mean(values)) for key, values in metric.items()}
        for target in self.targets:
            self._scores(tables, target, means)
        self._efficiency(tables)
        self._minimisers(tables)
        for stage, jobs, seconds in (
            ("manifest", 4, 1.1),
            ("pretrain", 7, 14.0),
            ("features", len(self.targets) * len(self.models), 3.2),
            ("finetune", sum(1 for _ in self.runs()), 6.0),
        ):
            tables["runtime"] += [
                {
                    "stage": stage,
                    "job": f"job{i}",
                    "seconds": seconds * float(self.random.uniform(0.8, 1.2)),
                    "cpu_seconds": seconds,
                    "peak_mib": 410.0,
                }
                for i in range(jobs)
            ]
        return tables

    def _finetune(self, tables: dict, run: dict, value: float) -> None:
        accuracy = value if self.task(run["target"]) == "classification" else 0.9
        finished = not self.diverged
        tables["finetunes"].append(
            run
            | {
                "task": self.task(run["target"]),
                "judged_by": "accuracy" if self.task(run["target"]) == "classification" else "map",
                "status": "finished" if finished else "diverged",
                "reason": None if finished else "the loss became nan in epoch 1",
                "epochs": 6 if finished else 1,
                "best_epoch": 5 if finished else None,
                "selected_on": "validation",
                "validation_accuracy": accuracy - 0.004 if finished else None,
                "validation_loss": 0.3 if finished else None,
                "test_images": 100 if finished else None,
                "test_accuracy": accuracy if finished else None,
                "test_balanced_accuracy": accuracy - 0.1 if finished else None,
                "test_macro_f1": accuracy - 0.12 if finished else None,
                "test_majority_rate": 0.6 if finished else None,
                "test_loss": 0.3 if finished else None,
                "train_accuracy": 0.99 if finished else None,
                "train_images": 600,
                "seconds": 5.0 + float(self.random.uniform(0, 1)),
                "images_per_second": 900.0,
                "compute_threads": 1,
                "device": "cpu",
                "torch_version": "2.15.0",
            }
        )
        if finished and self.task(run["target"]) == "classification":
            for label, (images, recall) in enumerate(((60, accuracy), (40, accuracy - 0.2))):
                tables["class_recalls"].append(
                    run
                    | {"split": "test", "class_name": f"class {label}", "label": label}
                    | {"images": images, "recall": recall}
                )
                self._predictions(tables, run, label, images, recall)
        for epoch in range(1, 7 if finished else 1):
            progress = 1 - 0.5**epoch
            tables["epochs"].append(
                run
                | {
                    "stage": "finetune",
                    "epoch": epoch,
                    "learning_rate": 0.01,
                    "train_loss": 2 * 0.5**epoch,
                    "train_accuracy": progress,
                    "validation_loss": 2 * 0.5**epoch + 0.1,
                    "validation_accuracy": accuracy * progress,
                    "distance": float(epoch),
                    "distance_without_normalisation": 0.9 * epoch,
                    "seconds": 0.8,
                }
            )

    def _predictions(self, tables: dict, run: dict, label: int, images: int, recall: float) -> None:
        """Name the first of a class's test images wrong, the first of all with most certainty."""
        wrong = images - round(recall * images)
        for i in range(images):
            named = 1 - label if i < wrong else label
            sure = 0.95 - 0.4 * i / images
            tables["predictions"].append(
                run
                | {"split": "test", "row": TRAINED + 60 * label + i, "label": label}
                | {"predicted": named, "probability_predicted": sure}
                | {"probability_label": sure if named == label else 1 - sure}
            )

    def _retrieval(self, tables: dict, run: dict, value: float) -> None:
        tables["retrieval"].append(
            run
            | {
                "distance": "euclidean",
                "normalised": True,
                "ap_kind": "step",
                "junk_rule": "same_camera",
                "reranked": False,
                "rank1": min(1.0, value + 0.2),
                "rank5": min(1.0, value + 0.3),
                "rank10": 1.0,
                "rank20": 1.0,
                "map": value,
                "minp": value - 0.2,
                "queries": 32,
                "queries_without_positive": 0,
                "gallery": 96,
                "seconds": 1.0,
            }
        )
        for query in range(6):
            first_hit = int(self.random.integers(1, 5))
            tables["retrieval_queries"].append(
                run
                | {
                    "reranked": False,
                    "draw": 0,
                    "query": query,
                    "path": f"image_query/000{query}_c001_0_0.jpg",
                    "identity": query,
                    "camera": 1,
                    "ap": float(self.random.uniform(0.2, 1)),
                    "inp": float(self.random.uniform(0.1, 0.6)),
                    "first_hit": first_hit,
                    "positives": 9,
                    "junk": 2,
                }
            )
            for rank in range(1, 7):
                tables["ranked_lists"].append(
                    run
                    | {
                        "reranked": False,
                        "query": query,
                        "rank": rank,
                        "gallery": 100 + rank,
                        "path": f"image_test/000{rank}_c002_0_0.jpg",
                        "distance": rank / 10,
                        "match": rank >= first_hit and rank % 2 == first_hit % 2,
                        "junk": rank == 6,
                    }
                )

    def _scores(self, tables: dict, target: str, means: dict) -> None:
        noise = dict(zip(METHODS, (0.02, 0.03, 0.05, 0.02, 0.015, 0.1, 0.2), strict=True))
        place = {"target": target, "shots": "full"}
        metric = "map" if self.task(target) == "retrieval" else "accuracy"
        best = max(self.models, key=lambda model: means[target, model])
        for method in METHODS:
            value = {
                m: means[target, m] + self.random.normal(0, noise[method]) for m in self.models
            }
            order = sorted(self.models, key=lambda model: -value[model])
            for model in self.models:
                undefined = model.startswith("random") and method in ("leep", "source_accuracy")
                figure = None if undefined else float(value[model])
                tables["scores"].append(
                    place
                    | {
                        "model": model,
                        "method": method,
                        "variant": "",
                        "value": figure,
                        "reason": "the model has no source head" if undefined else None,
                        "low": None if undefined else figure - 0.02,
                        "high": None if undefined else figure + 0.02,
                        "probe_images": 125,
                        "seconds": 0.02,
                        "peak_bytes": 40_000,
                    }
                )
            if self.diverged or len(self.models) < 2:
                tables["selection"].append(
                    place
                    | {
                        "recipe": "best",
                        "metric": metric,
                        "method": method,
                        "variant": "",
                        "models": 0 if self.diverged else len(self.models),
                        "coverage": 0.0 if self.diverged else 1.0,
                        "reason": "a correlation needs 3 models or more",
                    }
                )
                continue
            spearman = float(numpy.clip(1 - 6 * noise[method] * self.random.uniform(), -1, 1))
            tables["selection"].append(
                place
                | {
                    "recipe": "best",
                    "metric": metric,
                    "method": method,
                    "variant": "",
                    "models": len(self.models),
                    "coverage": 1.0,
                    "spearman": spearman,
                    "spearman_low": max(-1.0, spearman - 0.4),
                    "spearman_high": min(1.0, spearman + 0.1),
                    "weighted_kendall": spearman * 0.9,
                    "kendall": spearman * 0.8,
                    "pearson": spearman,
                    "trials": float(order.index(best) + 1),
                    "regret": means[target, best] - means[target, order[0]],
                    "top_model": order[0],
                    "best_model": best,
                    "seconds": 30.0,
                }
            )
            self._gains(tables, place, metric, method, [means[target, m] for m in order])
        if not self.diverged and len(self.models) > 1:
            tables["selection"].append(
                place
                | {"recipe": "best", "metric": metric, "method": "random", "variant": ""}
                | {"models": len(self.models), "trials": (len(self.models) + 1) / 2}
            )
            expected = sorted(means[target, m] for m in self.models)[-1]
            self._gains(tables, place, metric, "random", [expected - 0.1] + [expected] * 7)

    def _gains(
        self, tables: dict, place: dict, metric: str, method: str, order: list[float]
    ) -> None:
        reference, best = float(numpy.median(order)), max(order)
        for k in range(1, len(self.models) + 1):
            reached = max(order[:k])
            tables["gains"].append(
                place
                | {
                    "recipe": "best",
                    "metric": metric,
                    "method": method,
                    "variant": "",
                    "k": k,
                    "best_of_k": reached,
                    "gain": reached - reference,
                    "best_gain": best - reference,
                    "relative": reached / best,
                    "seconds": 30.0 + 36.0 * k,
                }
            )

    def _efficiency(self, tables: dict) -> None:
        rows = [row for row in tables["gains"] if row["method"] in ("lfc", "random")]
        for row in rows:
            tables["efficiency"].append(
                {name: row[name] for name in ("target", "shots", "metric", "method", "variant")}
                | {"strategy": "zoo", "recipe": "gentle", "runs": row["k"]}
                | {"value": row["best_of_k"], "seconds": row["seconds"]}
            )
        for target in {row["target"]: None for row in rows}:
            for runs, value in ((1, 0.7), (2, 0.75)):
                tables["efficiency"].append(
                    {"target": target, "shots": "full", "strategy": "search", "method": "random"}
                    | {"metric": "map" if self.task(target) == "retrieval" else "accuracy"}
                    | {"model": self.models[0], "variant": "", "runs": runs, "value": value}
                    | {"seconds": 36.0 * runs}
                )

    def _minimisers(self, tables: dict) -> None:
        models = self.models[:3]
        for model in models:
            for measure, value in (("accuracy", WORTH[model]), ("loss", 1 - WORTH[model])):
                tables["minimisers"].append(
                    {"phase": "pretrained", "dataset": "digits_low", "model": model, "seed": 0}
                    | {"split": "test", "probe": "clean", "intensity": 0.0, "measure": measure}
                    | {"value": value, "interval": "images", "repeats": 1, "images": 200}
                )
            for probe in ("noise", "mask", "fgsm", "energy"):
                for intensity in (0.1, 0.2, 0.3):
                    for measure in ("error", "loss") if probe == "energy" else ("accuracy", "loss"):
                        value = WORTH[model] - intensity
                        tables["minimisers"].append(
                            {"phase": "pretrained", "dataset": "digits_low", "model": model}
                            | {"seed": 0, "split": "test", "probe": probe, "measure": measure}
                            | {"intensity": intensity, "value": value, "low": value - 0.02}
                            | {"high": value + 0.02, "interval": "repeats", "repeats": 5}
                            | {"images": 200, "refreshed": False}
                        )
        for first in models:
            for second in models:
                if first == second:
                    continue
                tables["distances"].append(
                    {"first": first, "second": second, "normalisation": True, "distance": 12.0}
                    | {"norm_first": 10.0, "norm_second": 11.0, "cosine": 0.2}
                )
                for kind in ("straight", "bezier"):
                    for step in range(5):
                        hump = step * (4 - step) / 4
                        tables["paths"].append(
                            {"first": first, "second": second, "kind": kind, "split": "test"}
                            | {"t": step / 4, "refreshed": True, "error": hump / 4, "loss": hump}
                            | {"error_barrier": 0.2, "loss_barrier": 1.0, "images": 200}
                        )
            for trained in (1, 2, 3):
                for part in (1, 2, 3):
                    tables["forgetting"].append(
                        {"target": self.targets[0], "model": first, "recipe": "gentle", "seed": 0}
                        | {"part_by": "classes", "trained": trained, "part": part}
                        | {"split": "test", "accuracy": 0.9 - 0.2 * abs(trained - part)}
                        | {"loss": 0.5, "forgotten": 0.1, "images": 60}
                    )
        for number, moment in enumerate(("before", "during", "after")):
            for row in range(12):
                for column in range(row, 12):
                    product = 1.0 + 3 * number * (row // 4 == column // 4) + 0.01 * (row + column)
                    tables["feature_correlation"].append(
                        {"target": self.targets[0], "shots": "full", "model": models[0]}
                        | {"recipe": "gentle", "seed": 0, "moment": moment, "epoch": 3 * number}
                        | {"row": row, "column": column, "row_class": f"class {row // 4}"}
                        | {"column_class": f"class {column // 4}", "product": product}
                        | {"lfc": 0.1 + 0.4 * number}
                    )
        for variant in ("noise accuracy 0.2", "energy loss 0.1"):
            tables["partial_correlations"].append(
                {"target": self.targets[0], "shots": "full", "recipe": "gentle", "models": 3}
                | {"metric": "accuracy", "method": "minimiser", "variant": variant}
                | {"given": "source_accuracy", "spearman": 0.6, "partial": 0.3, "low": -0.4}
                | {"high": 0.8}
            )

    def write(self, folder: Path, *, leave_out: tuple[str, ...] = ()) -> Path:
        """Write every table but those left out, and return the folder."""
        for name, rows in self.rows().items():
            if name not in leave_out:
                data = frame(name, rows) if rows else empty(name)
                write_table(name, data, folder / f"{name}.parquet")
        if "answers" not in leave_out:
            write_table("answers", self.answers(), folder / "answers.parquet")
        return folder

    def write_images(self, folder: Path) -> dict[str, dict[str, Path | None]]:
        """Write manifest and packed images of every target, and return the files by target."""
        return {target: self._images(target, folder / target) for target in self.targets}

    def _images(self, target: str, folder: Path) -> dict[str, Path | None]:
        rows = []
        for split in ("train", "test"):
            rows += [{"split": split, "label": int(i >= 60)} for i in range(100)]
        if self.task(target) == "retrieval":
            places = [("train", 3), ("query", 1), ("gallery", 2)]
            rows = [
                {"split": split, "label": i if split == "train" else None}
                | {"identity": i if split == "train" else 20 + i, "camera": camera}
                for split, count in places
                for i in range(8)
                for camera in range(count)
            ]
        for number, row in enumerate(rows):
            name = f"class {row['label']}" if "identity" not in row else str(row["identity"])
            row |= {"row": number, "path": f"{row['split']}/{number:03}.jpg", "class_name": name}
        write_table("manifest", frame("manifest", rows), folder / "manifest.parquet")
        # Each image is of one grey of its own, so that a test can tell which picture it sees.
        greys = numpy.arange(len(rows), dtype=numpy.uint8)[:, None, None, None]
        numpy.save(folder / "images.npy", numpy.broadcast_to(greys, (len(rows), 3, 32, 32)))
        return {
            "manifest": folder / "manifest.parquet",
            "images": folder / "images.npy",
            "root": None,
        }

    def job(self) -> ReportJob:
        """Return the job of the page of these tables."""
        vehicles = {"reader": "veri776", "generate": {"train_identities": 8}}
        letters = {"reader": "generated", "kind": "letters", "classes": 2}
        ranked = {target: self.task(target) == "retrieval" for target in self.targets}
        return ReportJob.model_validate(
            {
                "study": "fixture",
                "selection": Selection(),
                "targets": {
                    target: {"dataset": target, "task": self.task(target)} for target in ranked
                },
                "datasets": {target: vehicles if ranked[target] else letters for target in ranked},
                "recipes": {"gentle": {"epochs": 6, "lr": 0.01}, "high_lr": {"lr": 0.5}},
            }
        )

    def answers(self) -> polars.DataFrame:
        """Return the answers that the whole tables give."""
        with tempfile.TemporaryDirectory() as whole:
            folder = Path(whole)
            self.write(folder, leave_out=("answers",))
            asked = dict.fromkeys(places_of(folder), Asked())
            return answers(
                folder, asked, recipes={}, own=None, earlier=Earlier(folder, "fixture", [])
            )


@pytest.fixture(scope="session")
def study_tables():
    """Give the builder of table folders."""
    return StudyTables


@pytest.fixture
def job() -> ReportJob:
    """Give a report job that knows of tables alone."""
    return ReportJob(study="fixture", selection=Selection())


@pytest.fixture(scope="session")
def full_study(study_tables, tmp_path_factory) -> tuple[ReportJob, Path, dict]:
    """Give the whole fixture study: job, folder of tables, and images by target."""
    built, folder = study_tables(), tmp_path_factory.mktemp("full")
    tables = built.write(folder / "tables")
    return built.job(), tables, built.write_images(folder / "images")
