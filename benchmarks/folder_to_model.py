#!/usr/bin/env python3
"""Measure what `xferpipe run` finds in a small budget, against fine-tuning everything.

    python benchmarks/folder_to_model.py --output benchmarks/results/folder_to_model.json

Of the solar cells of ELPV (package `elpv-dataset`, CC BY-NC-SA 4.0) each seed draws 4 x 60
photographs: mono- and poly-crystalline cells, functional and defective. `xferpipe run` races three
ImageNet models and the small ones with three recipes within its budget, and exports a winner;
`xferpipe predict` runs that on 4 x 200 other photographs. Then every (model, recipe) pair is
fine-tuned once in the same results, and judged on the same photographs. Regret is the accuracy of
the best of all pairs, chosen on those photographs, minus that of the winner: on average at most
0.02 is wanted, and a verdict within nine minutes on two cores that nothing else uses.

The history that comes with xferpipe knows these cells; it is used without them. Seeds that the
output file has already are not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import polars
import torch
import yaml

from xferpipe.config.histories import shipped
from xferpipe.handover.bundle import read_bundle, write_bundle
from xferpipe.handover.predict import photographs, predict
from xferpipe.handover.winner import winner
from xferpipe.records import read_table

ROOT = Path(__file__).resolve().parents[1]
NAME = "cells"
#: State of a cell by the annotators' probability of a defect; those in between are left out.
STATES = {0.0: "functional", 1.0: "defective"}
TRAINED, JUDGED = 60, 200
RECIPES = ("head", "gentle", "strong")
#: Image source of these cells in the history.
SOURCE = "elpv_solar_cells"


def cells() -> dict[str, list[Path]]:
    """Return the images of each class, in the order of the package's list."""
    package = distribution("elpv-dataset")
    folder = Path(str(package.locate_file("elpv_dataset"))) / "data"
    found: dict[str, list[Path]] = {}
    for line in (folder / "labels.csv").read_text().splitlines():
        path, probability, kind = line.split()
        if (state := STATES.get(float(probability))) is not None:
            found.setdefault(f"{kind}_{state}", []).append(folder / path)
    return found


def draw(folder: Path, seed: int) -> None:
    """Copy a seed's photographs to `photos`, and those that judge to `new`, by class."""
    for name, paths in cells().items():
        drawn = random.Random(f"{seed} {name}").sample(paths, TRAINED + JUDGED)
        for part, some in (("photos", drawn[:TRAINED]), ("new", drawn[TRAINED:])):
            (folder / part / name).mkdir(parents=True)
            for path in some:
                shutil.copy(path, folder / part / name)


def earlier(folder: Path) -> Path:
    """Write the history that comes with xferpipe without these cells."""
    rows = polars.concat([polars.read_parquet(path) for path in shipped()])
    path = folder / "earlier.parquet"
    rows.filter(polars.col("source") != SOURCE).write_parquet(path)
    return path


def command(folder: Path, *words: str) -> dict[str, float]:
    """Run a command of xferpipe to its end; return its seconds and the load it began with."""
    load, began = os.getloadavg()[0], time.monotonic()
    code = "import sys; from xferpipe.cli import main; main()"
    with (folder / "log.txt").open("a") as log:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=folder, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise RuntimeError((folder / "log.txt").read_text()[-4000:])
    return {"seconds": round(time.monotonic() - began, 1), "load_before": round(load, 1)}


def write_study(folder: Path, options: argparse.Namespace) -> None:
    """Write the study as `init` does, with the history that does not know these cells."""
    words = ("--models", options.models, "--task", "classification", "--name", NAME)
    words += ("--budget", options.budget, "--image-px", "96", "--recipes", ",".join(RECIPES))
    command(folder, "init", "study.yaml", "--images", "photos", *words)
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study |= {"shipped_history": False, "history": [earlier(folder).name]}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def accuracy(found: polars.DataFrame) -> float:
    """Return the share of photographs whose class, the name of their folder, was predicted."""
    return sum(
        Path(path).parent.name == predicted
        for path, predicted in found.select("path", "predicted").rows()
    ) / len(found)


def by_brute_force(folder: Path) -> list[dict[str, Any]]:
    """Fine-tune every pair once, in the race's results, and judge each on the new photographs."""
    study = yaml.safe_load((folder / "study.yaml").read_text())
    del study["choose"]
    study["finetunes"] = [{"recipes": list(RECIPES)}]
    (folder / "all.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    command(folder, "run", "photos", "--study", "all.yaml", "--cores", "2")
    tables = folder / "results" / NAME / "tables"
    runs = read_table("finetunes", tables / "finetunes.parquet").filter(seed=0)
    rows = []
    for run in runs.iter_rows(named=True):
        pair = {name: run[name] for name in ("model", "recipe", "validation_accuracy")}
        if run["status"] != "finished":
            rows.append({**pair, "accuracy": None})
            continue
        with tempfile.TemporaryDirectory() as place:
            won = winner(tables, NAME, model=run["model"], recipe=run["recipe"], seed=0)
            write_bundle(won, Path(place) / "model")
            bundle = read_bundle(Path(place) / "model")
            found = predict(bundle, photographs(folder / "new"), device=torch.device("cpu"))
        rows.append({**pair, "accuracy": round(accuracy(found), 5), "seconds": run["seconds"]})
    return rows


def measure(folder: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one seed: the race first, then everything."""
    draw(folder, seed)
    write_study(folder, options)
    raced = command(folder, "run", "photos", "--study", "study.yaml", "--cores", "2")
    results = folder / "results" / NAME
    exported = results / "export" / NAME / "full"
    words = ("--output", "predictions.parquet", "--device", "cpu", "--threads", "1")
    used = command(folder, "predict", str(exported), "new", *words)
    own = polars.read_parquet(folder / "predictions.parquet")
    runs = read_table("finetunes", results / "tables" / "finetunes.parquet")
    last = read_table("decisions", results / "tables" / "decisions.parquet")
    last = last.filter(polars.col("stopped").is_not_null())
    about = read_bundle(exported).about
    found = {
        "seed": seed,
        "winner": {"model": about.model, "recipe": about.recipe, "run_seed": about.seed},
        "accuracy": round(accuracy(own), 5),
        "photographs": own.height,
        "run": raced,
        "predict_seconds": used["seconds"],
        "fine_tunes": runs.height,
        "fine_tune_seconds": round(runs["seconds"].sum(), 1),
        "rounds": last["round"][0],
        "stopped": last["stopped"][0],
    }
    pairs = by_brute_force(folder)
    best = max(
        (pair for pair in pairs if pair["accuracy"] is not None), key=lambda p: p["accuracy"]
    )
    by_validation = max(pairs, key=lambda p: p["validation_accuracy"] or 0.0)
    return {
        **found,
        "best": best,
        "regret": round(best["accuracy"] - found["accuracy"], 5),
        "regret_of_best_validation": round(best["accuracy"] - by_validation["accuracy"], 5),
        "pairs": pairs,
    }


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over the seeds."""
    rows = polars.DataFrame(
        [{k: s[k] for k in ("regret", "accuracy", "fine_tunes")} for s in seeds]
    )
    regret = rows["regret"]
    return {
        "seeds": len(seeds),
        "mean_regret": round(regret.mean(), 4),
        "standard_error": round((regret.std() or 0.0) / len(seeds) ** 0.5, 4),
        "mean_accuracy": round(rows["accuracy"].mean(), 4),
        "mean_best": round(sum(seed["best"]["accuracy"] for seed in seeds) / len(seeds), 4),
        "mean_regret_of_best_validation": round(
            sum(seed["regret_of_best_validation"] for seed in seeds) / len(seeds), 4
        ),
        "mean_fine_tunes": round(rows["fine_tunes"].mean(), 1),
        "mean_seconds": round(sum(seed["run"]["seconds"] for seed in seeds) / len(seeds), 1),
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the seeds as a table in Markdown, with the means as its last row."""
    columns = ("seed", "winner", "its accuracy", "best of all", "regret", "runs", "wall", "load")
    rows = [
        (
            seed["seed"],
            f"{seed['winner']['model']}, {seed['winner']['recipe']}",
            f"{seed['accuracy']:.3f}",
            f"{seed['best']['accuracy']:.3f} ({seed['best']['model']}, {seed['best']['recipe']})",
            f"{seed['regret']:.3f}",
            seed["fine_tunes"],
            f"{seed['run']['seconds']:.0f} s",
            f"{seed['run']['load_before']:.1f}",
        )
        for seed in report["seeds"]
    ]
    means = report["summary"]
    regret = f"{means['mean_regret']:.3f}"
    if means["seeds"] > 1:
        regret += f" ± {means['standard_error']:.3f}"
    rows.append(
        (
            "mean",
            "",
            f"{means['mean_accuracy']:.3f}",
            f"{means['mean_best']:.3f}",
            regret,
            means["mean_fine_tunes"],
            f"{means['mean_seconds']:.0f} s",
            "",
        )
    )
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main() -> None:
    """Measure seed by seed and write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--models", default="lite,small")
    parser.add_argument("--keep", type=Path, help="folder to keep everything in")
    default = ROOT / "benchmarks/results/folder_to_model.json"
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--table", action="store_true", help="only print what is there as a table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report = {"seeds": []}
    if options.output.is_file():
        report = json.loads(options.output.read_text())
    if options.table:
        print(markdown(report))
        return
    done = {seed["seed"] for seed in report["seeds"]}
    for seed in sorted(set(range(options.seeds)) - done):
        with tempfile.TemporaryDirectory(prefix="folder-to-model-") as name:
            folder = Path(name) if options.keep is None else options.keep / f"seed{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            found = measure(folder, seed, options)
        print(json.dumps({key: found[key] for key in found if key != "pairs"}), flush=True)
        report["seeds"].append(found)
        report = {
            "budget": options.budget,
            "models": options.models,
            "python": platform.python_version(),
            "torch": version("torch"),
            "processors": os.cpu_count(),
            "summary": summary(report["seeds"]),
            "seeds": report["seeds"],
        }
        temporary = options.output.with_suffix(".part")
        temporary.write_text(json.dumps(report, indent=1) + "\n")
        temporary.replace(options.output)


if __name__ == "__main__":
    main()
