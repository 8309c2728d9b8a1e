"""What a stage of the workflow is: one record, from which its rule, keys and arguments come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from xferpipe.config.datasets import Dataset
from xferpipe.config.jobs import Job
from xferpipe.config.study import Study

#: Name of a job's benchmark file among its artifacts; every other name is one of its outputs.
BENCHMARK = "benchmark"

#: Name of an output that holds nothing but the stamp of the one beside it.
SIDECAR = "stamp"

#: Distributions whose version can change what a model computes.
MODELS = (
    *("numpy", "pillow", "POT", "pytorch-metric-learning", "scikit-learn", "scipy"),
    *("timm", "torch", "torchvision"),
)


class Artifact(NamedTuple):
    """One file of a job: an output by its name, or its benchmark.

    Attributes:
        stage: Name of the job's stage.
        wildcards: The job's wildcards, in the order of its path.
        name: Name of the output, or `BENCHMARK`.
    """

    stage: str
    wildcards: tuple[str, ...]
    name: str


#: What an input of a job is: a file of another job, a folder of the user, several by place or by
#: name, or nothing.
Need = Artifact | Path | None | list[Artifact] | dict[str, "Need"]
#: Inputs by name: the names of the rule's inputs, and of the arguments of the stage's function.
Needs = dict[str, Need]


class Stage:
    """One kind of job: all that is known of it before it runs.

    The stage's function is `xferpipe.stages.<name>.<name>`; it is called with the job, then with
    every input, the checkpoint of a training, and every output by name.

    Attributes:
        name: Name of the rule, module, function, log and, without `folder`, result folder.
        does: What a job does, in a user's words, with its wildcards.
        place: What names a job: a path pattern of its wildcards.
        folder: Folder below the results, where it is not the stage's name.
        outputs: Name -> file below the job's folder, or several files by name. A name without
            suffix is a folder, the empty text the job's folder itself.
        tables: Name of an output -> table of the results that its rows go into.
        reads: Further tables whose columns the stage depends on.
        libraries: Distributions whose version can change an output.
        kept: Outputs that a run makes anew when they are gone, whoever needs them.
        follows_races: Whether what a job reads follows from the rounds of races.
        timed: Name of an output whose rows keep the `seconds` of the first job with their key.
        trains: Whether a killed job goes on from a checkpoint.
        gpu: Whether it runs a model, on the study's device.
        parallel: Whether it computes with the study's threads; with one otherwise.
        memory_mb: Memory of a first attempt.
        minutes: Time of a first attempt.
    """

    name: str
    does: str
    place: str = ""
    folder: str | None = None
    outputs: Mapping[str, str | Mapping[str, str]]
    tables: Mapping[str, str] = {}
    reads: tuple[str, ...] = ()
    libraries: tuple[str, ...] = MODELS
    kept: tuple[str, ...] = ()
    follows_races: bool = False
    timed: str | None = None
    trains: bool = False
    gpu: bool = False
    parallel: bool = False
    memory_mb: int = 4000
    minutes: int = 60

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        """Return the wildcards of each job that the study asks for, not only another job."""
        return []

    def job(self, study: Study, *wildcards: str) -> Job:
        """Return what a job may know of the study."""
        raise NotImplementedError

    def needs(self, study: Study, *wildcards: str) -> Needs:
        """Return what a job reads."""
        return {}

    def user_files(self, study: Study, *wildcards: str) -> list[Dataset | Path]:
        """Return the data sets and files of the user that a job itself opens."""
        return []

    def opens(self, study: Study, *wildcards: str) -> list[Artifact]:
        """Return files of other jobs of which a job opens some, where they are: no inputs."""
        return []

    def rows(self, study: Study) -> dict[str, list[Artifact]]:
        """Return the files of all jobs whose rows are gathered, by table."""
        jobs = self.jobs(study)
        return {
            table: [Artifact(self.name, job, output) for job in jobs]
            for output, table in self.tables.items()
        }

    @property
    def wildcards(self) -> tuple[str, ...]:
        """Names of the wildcards in the order of the path."""
        return tuple(re.findall(r"{(\w+)}", self.place))

    @property
    def files(self) -> dict[str, str]:
        """Every output on its own: name -> file below the job's folder."""
        flat: dict[str, str] = {}
        for name, file in self.outputs.items():
            flat.update({name: file} if isinstance(file, str) else file)
        return flat

    def output(self, name: str, place: str | None = None) -> str:
        """Return an output's path below the results; without a place, its pattern of wildcards."""
        folder = self.name if self.folder is None else self.folder
        return _joined(folder, self.place if place is None else place, self.files[name])

    def benchmark(self, place: str | None = None) -> str:
        """Return a benchmark's path below the results; without a place, its pattern."""
        return _joined("benchmarks", self.name, self.place if place is None else place) + ".tsv"

    @property
    def log(self) -> str:
        """Pattern of a log's path below the results."""
        return _joined("logs", self.name, self.place) + ".log"

    @property
    def checkpoint(self) -> str:
        """Pattern of a training's checkpoint below the results."""
        return _joined("checkpoints", self.name, self.place) + ".pt"

    def path(self, wildcards: tuple[str, ...], name: str) -> str:
        """Return the path of a job's output, or of its benchmark, below the results."""
        place = self.place.format_map(dict(zip(self.wildcards, wildcards, strict=True)))
        return self.benchmark(place) if name == BENCHMARK else self.output(name, place)


def artifacts(need: Need | Needs) -> Iterator[Artifact]:
    """Yield all files of other jobs in an input or in several, in their order."""
    if isinstance(need, Artifact):
        yield need
    elif isinstance(need, dict):
        for inner in need.values():
            yield from artifacts(inner)
    elif isinstance(need, list):
        yield from need


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)
