"""Which run of a study is handed over, and where its weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars

from xferpipe.records import read_table


@dataclass(frozen=True)
class Winner:
    """One fine-tuned run.

    Attributes:
        run: Its row of table `finetunes`.
        answer: Row of table `answers` of its model and recipe; None where the study has no answer.
        card: Row of table `zoo` of its model.
        target: Row of table `targets`.
        weights: Its weights.
        manifest: Table `manifest` of its target's images.
    """

    run: dict[str, Any]
    answer: dict[str, Any] | None
    card: dict[str, Any]
    target: dict[str, Any]
    weights: Path
    manifest: Path

    @property
    def is_own(self) -> bool:
        """Whether the study made the weights that the run started from."""
        return self.card["weights"] in ("pretrain", "random")


def winner(
    tables: Path,
    target: str,
    *,
    shots: str | None = None,
    model: str | None = None,
    recipe: str | None = None,
    seed: int | None = None,
) -> Winner:
    """Choose the run of a target that is handed over.

    The model and recipe that the study's answer picks, and of their runs the one that is best on
    the validation images; options narrow the choice. Where the answer picks none that was run here,
    the first in its order that was.

    Args:
        tables: Folder of the study's tables.
        target: Name of the target.
        shots: Training images per class or "full"; None where the target has one of them only.
        model: Zoo entry, in place of the picked one.
        recipe: Recipe, likewise.
        seed: Seed of the run, in place of the best.
    Raises:
        RecordError: A table cannot be read.
        ValueError: There is no such run, or none finished.
        FileNotFoundError: Its weights are gone.
    """
    runs = read_table("finetunes", tables / "finetunes.parquet").filter(target=target)
    if runs.is_empty():
        known = read_table("targets", tables / "targets.parquet")["target"].to_list()
        raise ValueError(
            f"nothing was fine-tuned on target {target!r}; targets of this study: {_words(known)}"
        )
    shots = _only(runs, "shots", shots, f"target {target!r} was fine-tuned with several shots")
    runs = runs.filter(shots=shots)
    answers = read_table("answers", tables / "answers.parquet").filter(target=target, shots=shots)
    if model is None and recipe is None:
        model, recipe = _picked(answers, runs, target)
    for column, value in (("model", model), ("recipe", recipe), ("seed", seed)):
        if value is not None:
            known = runs[column].unique(maintain_order=True).to_list()
            runs = runs.filter(polars.col(column) == value)
            if runs.is_empty():
                raise ValueError(
                    f"no run on {target!r} has {column} {value!r}; there are: {_words(known)}"
                )
    finished = runs.filter(status="finished")
    if finished.is_empty():
        raise ValueError(
            f"no run of {model} with {recipe} on {target!r} finished: {_reasons(runs)}"
        )
    run = best_run(finished)
    folder = tables.parent
    place = (run["target"], run["shots"], run["model"], run["recipe"], f"seed{run['seed']}")
    weights = folder.joinpath("finetune", *place, "weights.safetensors")
    if not weights.exists():
        raise FileNotFoundError(
            2,
            "the weights are gone (`xferpipe prune` removes losers'); `snakemake` with this path "
            "as its target trains them again",
            str(weights),
        )
    cards = read_table("zoo", tables / "zoo.parquet")
    targets = read_table("targets", tables / "targets.parquet")
    about = targets.row(by_predicate=polars.col("target") == target, named=True)
    own = answers.filter(model=run["model"], recipe=run["recipe"])
    return Winner(
        run=run,
        answer=None if own.is_empty() else own.row(0, named=True),
        card=cards.row(by_predicate=polars.col("model") == run["model"], named=True),
        target=about,
        weights=weights,
        manifest=folder / "manifest" / about["dataset"] / "manifest.parquet",
    )


def _picked(answers: polars.DataFrame, runs: polars.DataFrame, target: str) -> tuple[str, str]:
    """Return the model and recipe of the answer's first pair that finished: its pick, if it did."""
    finished = runs.filter(status="finished").select("model", "recipe").unique()
    if finished.is_empty():
        raise ValueError(f"no run on {target!r} finished: {_reasons(runs)}")
    ordered = answers.sort("pick", descending=True, maintain_order=True, nulls_last=True)
    found = ordered.join(finished, on=["model", "recipe"], how="semi", maintain_order="left")
    return found.select("model", "recipe").row(0)


def best_run(runs: polars.DataFrame) -> dict[str, Any]:
    """Return the run that is best on the validation images; without any, the first seed's."""
    figure = f"validation_{runs['judged_by'][0]}"
    return runs.sort(
        polars.col(figure).fill_null(-1.0), "seed", descending=[True, False], maintain_order=True
    ).row(0, named=True)


def _only(runs: polars.DataFrame, column: str, value: str | None, problem: str) -> str:
    known = runs[column].unique(maintain_order=True).to_list()
    if value is None and len(known) > 1:
        raise ValueError(f"{problem} ({_words(known)}); give --{column}")
    if value is not None and value not in known:
        raise ValueError(f"no run has {column} {value!r}; there are: {_words(known)}")
    return known[0] if value is None else value


def _reasons(runs: polars.DataFrame) -> str:
    return "; ".join(f"seed {seed}: {why}" for seed, why in runs.select("seed", "reason").rows())


def _words(names: list[Any]) -> str:
    return ", ".join(map(str, names)) or "none"
