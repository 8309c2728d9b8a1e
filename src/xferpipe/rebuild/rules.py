"""What the rules of the workflow take from the study: paths, inputs, keys, and what is stale."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xferpipe.config.load import StudyError, study_of_workflow
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.user_files import check_user_files, datasets_in_use
from xferpipe.rebuild.environment import environment_of
from xferpipe.rebuild.graph import artifacts
from xferpipe.rebuild.interpreter import make_interpreter_callable
from xferpipe.rebuild.keys import JobId, Keys
from xferpipe.rebuild.layout import (
    BENCHMARK,
    LAYOUTS,
    Artifact,
    benchmark_of,
    checkpoint_of,
    job_name,
    log_of,
    output_of,
    results_of,
)
from xferpipe.rebuild.snapshot import VARIABLE, PlannedKeys, write_snapshot
from xferpipe.records.stamp import Stamp, read_stamp

#: Key of Snakemake's configuration that hands the plan to the processes of an executor.
_HANDED_ON = "xferpipe_plan"
#: Its value is in hexadecimal digits: Snakemake reads values as YAML, and a path may look like it.
_HEX = "hex_"


class Rules:
    """The study that Snakemake was given, as its rules see it.

    Args:
        workflow: Snakemake's workflow object.
        config: Snakemake's configuration; what is not of the study is taken out of it.
        root: Folder of the Snakefile.
    Raises:
        StudyError: The study cannot be run as written, or files that it names are missing.
    """

    def __init__(self, workflow: Any, config: dict[str, Any], root: Path) -> None:
        make_interpreter_callable()
        self._workflow = workflow
        #: Job -> what its outputs say of themselves, where that is not what it would write now.
        self.stale: dict[JobId, Stamp | None] = {}
        handed = config.pop(_HANDED_ON, None)
        if handed:
            # A process of an executor: the study may have been edited since the run began.
            path = bytes.fromhex(handed.removeprefix(_HEX)).decode()
            os.environ[VARIABLE] = path
            self.keys: Keys = PlannedKeys(Path(path))
        else:
            study = study_of_workflow(config, workflow.configfiles)
            check_user_files(study)
            deployment = getattr(workflow, "deployment_settings", None)
            methods = getattr(deployment, "deployment_method", ())
            conda = any(method.name == "CONDA" for method in methods)
            self.keys = Keys(study, environment_of(root, conda=conda))
            _read_user_files(self.keys)
        self.study = self.keys.study
        self.results = results_of(self.study.name, smoke=self.study.whole is not None)
        self._known: dict[JobId, bool] = {}
        self._fresh: dict[JobId, bool] = {}
        self._planned = 0
        self._main = not handed
        _note_older_results(self.results)
        _latest.append(self)

    def outputs(self, stage: str) -> dict[str, str]:
        """Return the output paths of a rule by name, with its wildcards."""
        return {name: self.path(output_of(stage, name)) for name in LAYOUTS[stage].outputs}

    def log(self, stage: str) -> str:
        """Return the log of a rule."""
        return self.path(log_of(stage))

    def benchmark(self, stage: str) -> str:
        """Return the benchmark of a rule."""
        return self.path(benchmark_of(stage))

    def checkpoint(self, stage: str) -> str:
        """Return the checkpoint of a training rule."""
        return self.path(checkpoint_of(stage))

    def kept(self) -> list[str]:
        """Return the end results, and the intermediates whose loss must be noticed."""
        ends = [
            Artifact(stage, (), name)
            for stage in ("report", "figures", "aggregate")
            for name in LAYOUTS[stage].outputs
        ]
        needs = self.keys.graph.needs("aggregate")
        weights = [self.keys.graph.entry(model) for model in self.study.zoo]
        rows = [*artifacts({"": needs["scores"]}), *artifacts({"": needs["finetunes"]})]
        return [self.path(artifact.path) for artifact in [*ends, *weights, *rows]]

    def path(self, below: str) -> str:
        """Return a path below the study's results as Snakemake knows it."""
        return f"{self.results}/{below}"

    def inputs(self, stage: str) -> Callable[[Any], dict[str, Any]]:
        """Return a rule's input function.

        Dates say nothing here, keys do: the inputs of a job whose outputs carry its key are
        `ancient`, and an output with another key is made anew.
        """
        from snakemake.io import ancient

        def inputs(wildcards: Any) -> dict[str, Any]:
            name = (stage, *map(str, wildcards))
            if not self._main:
                self._check_current(name)
            flagged = ancient if self._main and self._rests(name) else str

            def given(need: Artifact | list[Artifact] | None) -> Any:
                if isinstance(need, Artifact):
                    return flagged(self.path(need.path))
                needed = [one for one in need or () if self._is_to_be_had(one)]
                return [flagged(self.path(one.path)) for one in needed]

            return {key: given(need) for key, need in self.keys.graph.needs(*name).items()}

        return inputs

    def key(self, stage: str) -> Callable[[Any], str]:
        """Return the function that gives a job's cumulative key."""

        def key(wildcards: Any) -> str:
            self.write_plan()
            return self.keys(stage, *map(str, wildcards)).key

        return key

    def write_plan(self) -> None:
        """Write the plan of the run and tell the processes of its jobs where it is.

        Called whenever a job is about to start. Nothing happens in a dry run, in a process that was
        handed a plan, and while there are no more jobs than in the plan that was written.
        """
        from snakemake.exceptions import WorkflowError

        if not self._main or len(self.keys) == self._planned or self._workflow.dryrun:
            return
        self._planned = len(self.keys)
        try:
            path = write_snapshot(self.keys, self.keys.known(), self.results)
        except OSError as error:
            raise WorkflowError(
                f"{self.results}: the plan of the run cannot be written there ({error.strerror}); "
                "allow writing to the results, or run elsewhere"
            ) from None
        os.environ[VARIABLE] = str(path)
        settings = self._workflow.config_settings
        own = [text for text in settings.config_args or () if not text.startswith(_HANDED_ON)]
        settings.config_args = [*own, f"{_HANDED_ON}={_HEX}{str(path).encode().hex()}"]

    @property
    def asks_for_all(self) -> bool:
        """Whether the run is for everything, as when no target is named."""
        asked = self._workflow.dag_settings
        part = asked.until or asked.omit_from or asked.batch or asked.target_jobs
        return not part and set(asked.targets) <= {"all"}

    def _check_current(self, name: JobId) -> None:
        """End an executor's process here where a later run has replaced its plan for the job.

        Snakemake removes a job's outputs before it starts, and after it failed; those of a later
        run must stay. What fails in here has left nothing half-written that would have to go.
        """
        self._workflow.execution_settings.keep_incomplete = True
        self.keys.check_current(job_name(stage=name[0], wildcards=name[1:]))

    @functools.cached_property
    def _all_run(self) -> bool:
        """Whether the run is forced, or makes up for a killed one."""
        asked = self._workflow.dag_settings
        unfinished = Path(".snakemake", "incomplete")
        killed = unfinished.is_dir() and any(unfinished.iterdir())
        return bool(asked.forcerun or asked.forceall or asked.forcetargets or killed)

    def _is_to_be_had(self, artifact: Artifact) -> bool:
        """Tell whether a job may ask for a file: for a benchmark no job runs that need not run."""
        if artifact.name != BENCHMARK:
            return True
        if os.path.exists(self.path(artifact.path)):
            return True
        return self._main and not self._up_to_date((artifact.stage, *artifact.wildcards))

    def _rests(self, name: JobId) -> bool:
        """Tell whether a job and all above it have what they would write.

        Snakemake looks no further below a job that runs than the first one with `ancient` inputs.
        So these are for jobs above which nothing will run; not for a run that is forced or that
        makes up for a killed one.
        """
        # In this order: whatever the run, it is `_up_to_date` that has stale outputs replaced.
        return self._up_to_date(name) and not self._all_run and self._is_not_stale(name)

    def _is_not_stale(self, name: JobId) -> bool:
        """Tell whether no output of a job and of those above it is there with another key."""
        if name not in self._fresh:
            self._up_to_date(name)
            above = self.keys.graph.above(*name)
            self._fresh[name] = name not in self.stale and all(map(self._is_not_stale, above))
        return self._fresh[name]

    def _up_to_date(self, name: JobId) -> bool:
        """Tell whether a job has outputs and all carry its key; have Snakemake replace others."""
        if name not in self._known:
            self._known[name] = self._compare(name)
        return self._known[name]

    def _compare(self, name: JobId) -> bool:
        from snakemake.settings.enums import RerunTrigger

        if self._workflow.storage_settings.default_storage_provider:
            # The outputs, and so their keys, are not at hand: Snakemake's records have to do.
            triggers = frozenset({RerunTrigger.MTIME, RerunTrigger.PARAMS})
            self._workflow.dag_settings.rerun_triggers = triggers
            return False
        stage, *wildcards = name
        outputs = (Artifact(stage, tuple(wildcards), output) for output in LAYOUTS[stage].outputs)
        paths = [self.path(output.path) for output in outputs]
        existing = [path for path in paths if os.path.exists(path)]
        key = self.keys(*name).key
        for path in existing:
            found = read_stamp(path)
            if found is None or found.key != key:
                self.stale[name] = found
                self._workflow.dag.forcefiles.add(path)
                return False
        return bool(existing)


def _read_user_files(keys: Keys) -> None:
    """Look at the user's files before anything is planned: a fault in them ends it here."""
    study = keys.study
    jobs = [("manifest", name) for name in datasets_in_use(study)]
    jobs += [("load_weights", name) for name, entry in study.zoo.items() if entry.weights == "file"]
    try:
        for job in [*jobs, ("aggregate",)]:
            keys.content(job)
    except (DatasetError, OSError) as error:
        raise StudyError(str(error)) from None


#: What Snakemake parsed last in this process; `xferpipe plan` asks it why jobs run.
_latest: list[Rules] = []


def latest() -> Rules | None:
    """Return the rules that were parsed last in this process."""
    return _latest[-1] if _latest else None


def forget() -> None:
    """Forget the rules that were parsed before."""
    _latest.clear()


def _note_older_results(results: Path) -> None:
    """Tell once that results of version 0.1, which had no folder a study, are not read."""
    older = results.parent / "tables" / "selection.parquet"
    if older.is_file() and not results.exists():
        from snakemake.logging import logger

        logger.warning(
            f"{results.parent}/ holds results of xferpipe 0.1. They are left as they are and not "
            f"read: results carry their keys now and lie in {results}/. Delete {results.parent}/"
            "{zoo,finetune,tables,...} when you no longer need them."
        )
