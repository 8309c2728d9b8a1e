"""The graphs of a dozen studies in figures that can be committed: `python -m tests.graph.studies`.

For each form of each study: how many jobs a stage has, and a hash over their names, inputs, outputs
and slices; and for each of some edits of the study, how many jobs of a stage get another key.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xferpipe.config.load import load_study
from xferpipe.config.study import Study
from xferpipe.graph.environment import Environment
from xferpipe.graph.graph import all_jobs, needs_of
from xferpipe.graph.keys import Keys
from xferpipe.graph.stage import artifacts
from xferpipe.graph.stages import STAGES, job_of, path_of

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = Path(__file__).with_name("graph_of_studies.json")
STUDIES = ("digits", "race", "s000", "s001", "s002", "s003", "s004")


def forms() -> list[tuple[str, bool]]:
    """Return a dozen studies: each in its full and its smoke form."""
    return [(name, smoke) for name in STUDIES for smoke in (False, True)]


def form_name(name: str, smoke: bool) -> str:
    """Return the name of one form of a study."""
    return f"{name}-smoke" if smoke else name


def study_of(name: str, smoke: bool) -> Study:
    """Return one form of a study."""
    return load_study(_file(name), smoke=smoke)


def described(name: str, smoke: bool) -> dict[str, Any]:
    """Describe the graph of one study."""
    study = study_of(name, smoke)
    lines: dict[str, list[str]] = {}
    for job in all_jobs(study):
        stage, *wildcards = job
        record = STAGES[stage]
        inputs = sorted(map(path_of, artifacts(needs_of(study, job))))
        outputs = sorted(record.path(tuple(wildcards), name) for name in record.files)
        slice_ = job_of(study, *job).canonical_json()
        lines.setdefault(stage, []).append(json.dumps([list(job), inputs, outputs, slice_]))
    return {stage: {"jobs": len(found), "hash": _hash(found)} for stage, found in lines.items()}


def partitioned(name: str, smoke: bool) -> dict[str, dict[str, int] | str]:
    """Count the jobs of each stage that each edit gives another key."""
    content = study_of(name, smoke).model_dump(mode="json")
    before = _all_keys(content)
    found: dict[str, dict[str, int] | str] = {}
    for edit, change in EDITS.items():
        changed = json.loads(json.dumps(content))
        try:
            change(changed)
            after = _all_keys(changed)
        except (LookupError, TypeError, ValueError):
            found[edit] = "does not apply"
            continue
        different = Counter(job[0] for job, key in after.items() if before.get(job) != key)
        found[edit] = dict(sorted(different.items()))
    return found


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _first(block: dict[str, Any]) -> Any:
    return block[next(iter(block), "")]


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """Make an edit: `*` stands for the first entry of a mapping."""

    def change(content: dict[str, Any]) -> None:
        block: Any = content
        for part in path[:-1]:
            block = _first(block) if part == "*" else block[part]
        old = block[path[-1]]
        block[path[-1]] = value(old) if callable(value) else value

    return change


EDITS = {
    "seed": _set("seed", value=lambda seed: seed + 1),
    "threads": _set("compute_threads", value=lambda threads: threads + 1),
    "device": _set("device", value=lambda device: "cuda" if device == "cpu" else "cpu"),
    "licence": _set("datasets", "*", "licence", value="another"),
    "side": _set("datasets", "*", "image_px", value=lambda side: side + 8),
    "held out": _set("targets", "*", "validation_fraction", value=0.37),
    "chosen within shots": _set("targets", "*", "validation", value="within_shots"),
    "draws": _set("targets", "*", "draws", value="per_seed"),
    "distance": _set("retrieval", "distance", value="cosine"),
    "recipe": _set("finetuning_recipes", "*", "epochs", value=lambda epochs: epochs + 1),
    "pretraining": _set("pretraining_recipes", "*", "epochs", value=lambda epochs: epochs + 1),
    "preprocessing": _set("zoo", "*", "mean", value=[0.1, 0.2, 0.3]),
    "probe": _set("probe", "images_per_class", value=7),
    "methods": _set("scores", "methods", value=lambda methods: methods[:2]),
    "ranking": _set("retrieval", "rerank_k1", value=lambda k1: k1 + 1),
    "judging": _set("selection", "confidence", value=0.81),
    "budget": _set("choose", 0, "budget", "runs", value=lambda runs: runs + 1),
    "minimisers": _set("minimisers", "confidence", value=0.81),
}


class _Keys(Keys):
    """Keys that differ by the study alone: not by code, libraries or files of this machine."""

    def code(self, stage: str, job: Any) -> str:
        return stage

    def content(self, name: tuple[str, ...]) -> str:
        return ""


def _keys(study: Study) -> Keys:
    return _Keys(study, Environment("", defaultdict(str)))


def _all_keys(content: dict[str, Any]) -> dict[tuple[str, ...], str]:
    keys = _keys(Study.model_validate(content))
    return {job: keys(*job).key for job in all_jobs(keys.study)}


def _file(name: str) -> Path:
    return ROOT / "studies" / f"{name}.yaml"


def figures_of(name: str, smoke: bool) -> dict[str, Any]:
    """Return all figures of one study; keys are left out where there are 11,000 jobs."""
    large = name == "s004" and not smoke
    return {"stages": described(name, smoke), "keys": {} if large else partitioned(name, smoke)}


def main() -> None:
    """Write the fixture anew, a study a line."""
    lines = [f"{json.dumps(form_name(*form))}: {json.dumps(figures_of(*form))}" for form in forms()]
    FIXTURE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
