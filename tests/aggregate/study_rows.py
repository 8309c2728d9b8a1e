"""Rows of a made-up study, written the way the stages write them."""

from __future__ import annotations

from pathlib import Path

import numpy

from xferpipe.config.jobs import AggregateJob
from xferpipe.config.study import Selection
from xferpipe.records import frame, result_files, write_table
from xferpipe.stages.aggregate import aggregate

MODELS = ("a", "b", "c", "d", "e")


INPUTS = (*("zoo", "epochs", "scores", "finetunes", "retrieval", "ranked_lists"), "benchmarks")


def gathered(job: AggregateJob, files: dict, folder: Path) -> None:
    """Run stage `aggregate` on files by table."""
    rows = {name: paths for name, paths in files.items() if name != "benchmarks"}
    made = {"history": {}, "tables": result_files(folder)}
    aggregate(job, rows=rows, benchmarks=files["benchmarks"], **made)


def job(**selection) -> AggregateJob:
    return AggregateJob(
        study="made_up",
        selection=Selection(**selection),
        licences=dict.fromkeys(MODELS) | {"a": "MIT"},
        source_licences={"b": "CC-BY-4.0"},
        targets={"t": {"dataset": "moths"}, "u": {"dataset": "bees", "task": "retrieval"}},
        target_licences={"t": "CC BY-NC 4.0", "u": None},
        seed=0,
    )


def write(table: str, rows: list[dict], path: Path) -> Path:
    write_table(table, frame(table, rows), path)
    return path


def study(folder: Path, *, targets=("t", "u"), seeds=(0, 1), recipes=("slow", "fast")) -> dict:
    """Write every input of `aggregate` for a small study and return its arguments."""
    generator = numpy.random.default_rng(0)
    files: dict[str, list[Path]] = {name: [] for name in INPUTS}
    for model in MODELS:
        row = {"model": model, "architecture": "x", "weights": "random", "parameters": 5}
        files["zoo"].append(write("zoo", [row], folder / "zoo" / f"{model}.parquet"))
    for target in targets:
        for place, model in enumerate(MODELS):
            key = {"target": target, "shots": "full", "model": model}
            seconds = {"seconds": 1.0, "feature_seconds": 2.0}
            rows = [
                key | {"method": method, "variant": "", "value": value, **seconds}
                for method, value in (
                    ("lfc", float(place)),
                    ("leep", None if model == "e" else -float(place)),
                    ("parameters", 5.0),
                )
            ]
            files["scores"].append(write("scores", rows, folder / "scores" / target / f"{model}.p"))
            # On the second target the first two models change places.
            worth = {0: 1, 1: 0}.get(place, place) if target == "u" else place
            for recipe in recipes:
                for seed in seeds:
                    run = key | {"recipe": recipe, "seed": seed}
                    accuracy = 0.5 + 0.08 * worth + 0.01 * generator.random()
                    path = folder / "runs" / target / model / recipe / str(seed)
                    row = run | {
                        "task": "classification",
                        "judged_by": "accuracy",
                        "status": "finished",
                        "test_accuracy": accuracy,
                        "validation_accuracy": accuracy - 0.01,
                        "seconds": 10.0,
                    }
                    files["finetunes"].append(write("finetunes", [row], path / "run.parquet"))
                    epoch_rows = [
                        run | {"stage": "finetune", "epoch": e, "train_accuracy": 0.3 + 0.2 * e}
                        for e in range(1, 5)
                    ]
                    files["epochs"].append(write("epochs", epoch_rows, path / "epochs.parquet"))
    benchmark = folder / "benchmarks" / "finetune" / "t" / "full.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\tmax_rss\tmean_load\tcpu_time\n3.5\t0:00:03\tNA\t0.00\t2.25\n")
    files["benchmarks"].append(benchmark)
    return files
