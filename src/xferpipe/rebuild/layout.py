"""Where the outputs of every stage lie below a study's results: the one place that says so.

A rule takes its output, log and benchmark paths from here, and so does whoever looks for a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xferpipe.config.report import FIGURES
from xferpipe.records import TABLES

#: Name of a job's benchmark file among its artifacts; every other name is one of its outputs.
BENCHMARK = "benchmark"

#: Name of an output that holds nothing but the stamp of the one beside it.
SIDECAR = "stamp"

_RUN = "{target}/{shots}/{model}/{recipe}/seed{seed}"
_PAIR = "{target}/{shots}/{model}"
_ENTRY = {
    "weights": "weights.safetensors",
    "card": "card.parquet",
    "class_means": "class_means.safetensors",
}


@dataclass(frozen=True)
class Layout:
    """The files of one stage.

    Attributes:
        place: What names a job of the stage: a path pattern of its wildcards.
        outputs: Name -> file below the job's folder; the empty text is the folder itself.
        folder: Folder below the results where it is not the stage's name.
    """

    place: str
    outputs: dict[str, str]
    folder: str | None = None

    @property
    def wildcards(self) -> tuple[str, ...]:
        """Names of the wildcards in the order of the path."""
        return tuple(re.findall(r"{(\w+)}", self.place))


#: Result tables: all that `aggregate` writes. A manifest is of one data set.
RESULT_TABLES = tuple(name for name in TABLES if name != "manifest")

LAYOUTS = {
    "generate": Layout("{dataset}", {"root": ""}),
    "manifest": Layout("{dataset}", {"manifest": "manifest.parquet"}),
    "pack": Layout("{dataset}", {"images": "images.npy", SIDECAR: "images.npy.json"}),
    "pretrain": Layout("{model}", {**_ENTRY, "epochs": "epochs.parquet"}, "zoo"),
    "expert": Layout("{expert}", {"domains": "domains", "epochs": "epochs.parquet"}),
    "domain": Layout("{model}", _ENTRY, "zoo"),
    "load_weights": Layout("{model}", _ENTRY, "zoo"),
    "features": Layout(_PAIR, {"features": "features.safetensors"}),
    "gradients": Layout(_PAIR, {"gradients": "gradients.safetensors"}),
    "reference": Layout("{target}/{shots}", {"reference": "features.safetensors"}),
    "scores": Layout(_PAIR, {"scores": "scores.parquet"}),
    "finetune": Layout(
        _RUN,
        {
            "weights": "weights.safetensors",
            "run": "run.parquet",
            "epochs": "epochs.parquet",
            "feature_correlation": "feature_correlation.parquet",
        },
    ),
    "retrieval": Layout(
        _RUN,
        {
            "retrieval": "retrieval.parquet",
            "queries": "queries.parquet",
            "ranked_lists": "ranked_lists.parquet",
            "camera_pairs": "camera_pairs.parquet",
            "picture": "ranked_lists.png",
        },
    ),
    "probe": Layout("{model}", {"minimisers": "minimisers.parquet"}),
    "path": Layout(
        "{first}/{second}", {"distances": "distances.parquet", "paths": "paths.parquet"}
    ),
    "probe_finetuned": Layout(_RUN, {"minimisers": "minimisers.parquet"}),
    "continual": Layout("{target}/{model}/seed{seed}", {"forgetting": "forgetting.parquet"}),
    "aggregate": Layout("", {name: f"{name}.parquet" for name in RESULT_TABLES}, "tables"),
    "report": Layout("", {"page": "report.html"}, ""),
    "figures": Layout("", {name: f"{name}.svg" for name in FIGURES}),
}


class Artifact(NamedTuple):
    """One file of a job: an output by its name, or its benchmark.

    Attributes:
        stage: Rule of the job.
        wildcards: The job's wildcards, in the order of its path.
        name: Name of the output in `LAYOUTS`, or `BENCHMARK`.
    """

    stage: str
    wildcards: tuple[str, ...]
    name: str

    @property
    def path(self) -> str:
        """Path below the study's results."""
        layout = LAYOUTS[self.stage]
        place = layout.place.format_map(dict(zip(layout.wildcards, self.wildcards, strict=True)))
        if self.name == BENCHMARK:
            return benchmark_of(self.stage, place)
        return output_of(self.stage, self.name, place)


def output_of(stage: str, name: str, place: str | None = None) -> str:
    """Return an output's path below the results; without a place, its pattern of wildcards."""
    layout = LAYOUTS[stage]
    folder = stage if layout.folder is None else layout.folder
    return _joined(folder, layout.place if place is None else place, layout.outputs[name])


def benchmark_of(stage: str, place: str | None = None) -> str:
    """Return a benchmark's path below the results; without a place, its pattern of wildcards."""
    return _joined("benchmarks", stage, LAYOUTS[stage].place if place is None else place) + ".tsv"


def log_of(stage: str) -> str:
    """Return the pattern of a log's path below the results."""
    return _joined("logs", stage, LAYOUTS[stage].place) + ".log"


def checkpoint_of(stage: str) -> str:
    """Return the pattern of a training's checkpoint below the results."""
    return _joined("checkpoints", stage, LAYOUTS[stage].place) + ".pt"


def job_name(stage: str, wildcards: tuple[str, ...]) -> str:
    """Return the name of a job, as `finetune digits/full/resnet8/sgd/0`."""
    return f"{stage} {'/'.join(wildcards)}".rstrip()


def results_of(study_name: str, *, smoke: bool) -> Path:
    """Return the folder of a study's results: each study, and its smoke form, has its own."""
    return Path("results", f"{study_name}-smoke" if smoke else study_name)


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)
