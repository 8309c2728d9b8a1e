"""Cumulative keys: one hash for each job over all that it and the jobs above it depend on.

Snakemake records a job's new params even when the job then fails, and afterwards believes that the
results below it are up to date. A key that holds the keys above it makes every job below differ,
too, so nothing stale is ever called finished.
"""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import yaml

from xferpipe.config.datasets import Dataset
from xferpipe.config.jobs import Job
from xferpipe.config.resolve import Jobs, entries_of
from xferpipe.config.study import FinetuneId, Study
from xferpipe.rebuild.code import code_of


class Keyed(NamedTuple):
    """What a rule's params hold: the job's slice as JSON, its code's hash, its cumulative key."""

    job: str
    code: str
    key: str


def environment_hash(environment: Path) -> str:
    """Hash an environment file and its post-deploy script; comments do not count."""
    content = repr(yaml.safe_load(environment.read_text()))
    script = environment.with_name(environment.stem + ".post-deploy.sh")
    if script.is_file():
        lines = (line.strip() for line in script.read_text().splitlines())
        content += "\n".join(line for line in lines if line and not line.startswith("#"))
    return _hash(content)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def entry_point_hash(names: tuple[str, ...], group: str) -> str:
    """Hash the distributions that the plug-ins among `names` come from: version and source."""
    from importlib.metadata import entry_points

    parts = []
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name in names:
            version = point.dist.version if point.dist else ""
            parts.append(f"{point.name}={point.value}@{version}{_plugin_source(point.module)}")
    return _hash(*parts) if parts else ""


def _plugin_source(module: str) -> str:
    from importlib.util import find_spec

    spec = find_spec(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return ""
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


class Keys:
    """Keys of every job of one study.

    Args:
        study: The checked study.
        environment: The conda environment file that the rules name.
    """

    def __init__(self, study: Study, environment: Path) -> None:
        self.study = study
        self.jobs = Jobs(study)
        self._environment = environment_hash(environment)
        self._cache: dict[tuple[str, ...], Keyed] = {}

    def __call__(self, stage: str, *wildcards: str) -> Keyed:
        """Return the slice and the key of the job that `wildcards` name."""
        name = (stage, *wildcards)
        if name not in self._cache:
            job = getattr(self.jobs, stage)(*wildcards)
            above = getattr(self, f"_above_{stage}")(*wildcards)
            text, code = job.canonical_json(), self.code(job)
            key = _hash(stage, text, code, self._environment, *above)
            self._cache[name] = Keyed(text, code, key)
        return self._cache[name]

    def code(self, job: Job) -> str:
        """Return the hash of the code that computes a job; constant while keys are frozen."""
        if self.study.code_key == "manual":
            return "manual"
        return code_of_job(job)

    def data(self, dataset: str) -> list[str]:
        """Return the keys that reading a data set's images depends on."""
        packed = self.study.datasets[dataset].pack
        return [self("pack" if packed else "manifest", dataset).key]

    def zoo(self, model: str) -> str:
        """Return the key of a zoo entry's weights."""
        stages = {"pretrain": "pretrain", "expert": "domain"}
        return self(stages.get(self.study.zoo[model].weights, "load_weights"), model).key

    def _above_generate(self, dataset: str) -> list[str]:
        return []

    def _above_manifest(self, dataset: str) -> list[str]:
        block = self.study.datasets[dataset]
        if getattr(block, "generate", None) is not None:
            return [self("generate", dataset).key]
        return [_files_hash(block)]

    def _above_pack(self, dataset: str) -> list[str]:
        return [self("manifest", dataset).key]

    def _above_pretrain(self, model: str) -> list[str]:
        entry = self.study.zoo[model]
        initial = [] if entry.initial is None else [self.zoo(entry.initial)]
        return [*self.data(entry.source), *initial]

    def _above_expert(self, name: str) -> list[str]:
        expert = self.study.experts[name]
        initial = [] if expert.initial is None else [self.zoo(expert.initial)]
        return [*(key for source in expert.sources for key in self.data(source)), *initial]

    def _above_domain(self, model: str) -> list[str]:
        return [self("expert", self.study.zoo[model].expert).key]

    def _above_load_weights(self, model: str) -> list[str]:
        entry = self.study.zoo[model]
        return [_file_hash(entry.name)] if entry.weights == "file" else []

    def _above_features(self, target: str, shots: str, model: str) -> list[str]:
        return [*self.data(self.study.targets[target].dataset), self.zoo(model)]

    def _above_gradients(self, target: str, shots: str, model: str) -> list[str]:
        return self._above_features(target, shots, model)

    def _above_reference(self, target: str, shots: str) -> list[str]:
        return [self("finetune", *self.study.reference_run(target, shots)).key]

    def _above_scores(self, target: str, shots: str, model: str) -> list[str]:
        above = [self("features", target, shots, model).key]
        if self.study.scores.needs_gradients:
            above.append(self("gradients", target, shots, model).key)
        if self.study.scores.needs_reference:
            above.append(self("reference", target, shots).key)
        return above

    def _above_finetune(
        self, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> list[str]:
        return [*self.data(self.study.targets[target].dataset), self.zoo(model)]

    def _above_retrieval(
        self, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> list[str]:
        return [self("finetune", target, shots, model, recipe, seed).key]

    def _above_probe(self, model: str) -> list[str]:
        return [*self.data(self.study.zoo[model].source), self.zoo(model)]

    def _above_path(self, first: str, second: str) -> list[str]:
        return [*self._above_probe(first), self.zoo(second)]

    def _above_probe_finetuned(
        self, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> list[str]:
        return [self("finetune", target, shots, model, recipe, seed).key]

    def _above_continual(self, target: str, model: str, seed: str) -> list[str]:
        return [*self.data(self.study.targets[target].dataset), self.zoo(model)]

    def _above_aggregate(self) -> list[str]:
        keys = [self.zoo(model) for model in self.study.zoo]
        for target, shots in self.study.scored():
            keys += [self("scores", target, shots, model).key for model in self.study.zoo]
        for run in self.study.finetune_ids():
            keys.append(self("finetune", *wildcards_of(run)).key)
            if self.study.targets[run.target].task == "retrieval":
                keys.append(self("retrieval", *wildcards_of(run)).key)
        for stage, jobs in self.study.minimiser_jobs().items():
            keys += [self(stage, *wildcards).key for wildcards in jobs]
        keys.append(_file_hash(self.study.selection.own_results))
        return keys

    def _above_report(self) -> list[str]:
        return [self("aggregate").key]


def wildcards_of(run: FinetuneId) -> tuple[str, str, str, str, str]:
    """Return a run's wildcards in the order of its result path."""
    return run.target, str(run.shots), run.model, run.recipe, str(run.seed)


def code_of_job(job: Job) -> str:
    """Return the hash of the code that computes a job, plug-ins of other distributions included."""
    scores = getattr(job, "scores", None)
    plugins = scores.methods if scores is not None else ()
    return _code_of_job(job.stage, entries_of(job), plugins)


@functools.cache
def _code_of_job(stage: str, entries: tuple[str, ...], plugins: tuple[str, ...]) -> str:
    plugin_code = entry_point_hash(plugins, "xferpipe.scores") if plugins else ""
    return _hash(code_of(stage, entries), plugin_code)


def _files_hash(dataset: Dataset) -> str:
    """Hash the content of a user's own files, so that a changed image is seen whatever its date."""
    from xferpipe.datasets.fingerprint import dataset_fingerprint

    return dataset_fingerprint(dataset)


def _file_hash(name: Path | str | None) -> str:
    """Hash the content of one of the user's files; empty where there is none."""
    path = Path(name or "")
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def matches(pattern: list[str]) -> str:
    """Return a wildcard constraint that allows exactly these values."""
    return "|".join(re.escape(value) for value in pattern) or "(?!)"
