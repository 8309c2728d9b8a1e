"""What the rules of the workflow take from the study: paths, inputs, keys, and what is stale."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xferpipe.config.load import StudyError, study_of_workflow
from xferpipe.config.study import Study
from xferpipe.config.zoo import architecture_library
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.user_files import check_user_files, datasets_in_use
from xferpipe.graph import warm
from xferpipe.graph.environment import environment_of
from xferpipe.graph.graph import JobId, above, kept, needs_of
from xferpipe.graph.interpreter import make_interpreter_callable
from xferpipe.graph.job_log import CONSOLE
from xferpipe.graph.keys import Keys
from xferpipe.graph.races import Races, open_rounds
from xferpipe.graph.snapshot import VARIABLE, PlannedKeys, write_snapshot
from xferpipe.graph.sources import state_at_start
from xferpipe.graph.stage import BENCHMARK, Artifact, Need, artifacts
from xferpipe.graph.stages import STAGES, job_name, path_of
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
        state_at_start()
        self._workflow = workflow
        #: Job -> what its outputs say of themselves, where that is not what it would write now.
        self.stale: dict[JobId, Stamp | None] = {}
        handed = config.pop(_HANDED_ON, None)
        if handed:
            # A process of an executor: the study may have been edited since the run began.
            path = bytes.fromhex(handed.removeprefix(_HEX)).decode()
            os.environ[VARIABLE] = path
            os.environ.pop(CONSOLE, None)  # The run's console is elsewhere, or gone.
            self.keys: Keys = PlannedKeys(Path(path))
        else:
            study = study_of_workflow(config, workflow.configfiles)
            check_user_files(study)
            conda = "CONDA" in _deployment(workflow)
            self.keys = Keys(study, environment_of(root, conda=conda))
            _read_user_files(self.keys)
            _check_races_can_be_followed(workflow, study)
        self.study = self.keys.study
        self.results = self.study.results
        self._known: dict[JobId, bool] = {}
        self._fresh: dict[JobId, bool] = {}
        self._planned = 0
        #: Every plan of this run that was written.
        self._plans: list[Path] = []
        self._main = not handed
        self._races = Races(self.keys, self.results)
        if self._main:
            self._races.follow()
        _note_older_results(self.results)
        _latest.append(self)

    def outputs(self, stage: str) -> dict[str, Any]:
        """Return the output paths of a rule by name, with its wildcards; folders as such."""
        from snakemake.io import directory

        record = STAGES[stage]
        paths = {name: self.path(record.output(name)) for name in record.files}
        return {
            name: path if Path(record.files[name]).suffix else directory(path)
            for name, path in paths.items()
        }

    def log(self, stage: str) -> str:
        """Return the log of a rule."""
        return self.path(STAGES[stage].log)

    def benchmark(self, stage: str) -> str:
        """Return the benchmark of a rule."""
        return self.path(STAGES[stage].benchmark())

    def threads(self, stage: str) -> int:
        """Return the threads of a rule's jobs."""
        return self.study.compute_threads if STAGES[stage].parallel else 1

    def resources(self, stage: str) -> dict[str, Any]:
        """Return what a rule's jobs ask for; memory and time grow with each attempt."""
        record = STAGES[stage]
        return {
            "gpu": int(record.gpu and self.study.device != "cpu"),
            "mem_mb": self._growing(record.memory_mb),
            "runtime": self._growing(record.minutes),
        }

    def params(self, stage: str) -> dict[str, Any]:
        """Return what a rule's script must know: the stage, the key, a training's checkpoint."""
        params = {"stage": stage, "key": self._key(stage)}
        if STAGES[stage].trains:
            params["checkpoint"] = self.path(STAGES[stage].checkpoint)
        return params

    def models_of(self, stage: str) -> str:
        """Return a wildcard constraint that allows exactly the models that a rule makes."""
        models = [re.escape(model) for (model,) in STAGES[stage].jobs(self.study)]
        return "|".join(models) or "(?!)"

    def _growing(self, amount: int) -> Callable[[Any, int], int]:
        """Ask for more with each attempt, so that a job killed for memory or time gets through."""

        def asked(wildcards: Any, attempt: int) -> int:
            # What Snakemake asks for before it starts a job, in a module and without hooks too.
            self.write_plan()
            return amount * attempt

        return asked

    def kept(self) -> list[str]:
        """Return the end results, and the intermediates whose loss must be noticed."""
        return [self.path(path_of(artifact)) for artifact in kept(self.study)]

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
            elif STAGES[stage].follows_races:
                self._follow_races(name)
            flagged = ancient if self._main and self._rests(name) else str

            def given(need: Need) -> Any:
                paths = [
                    flagged(self.path(path_of(artifact)))
                    for artifact in artifacts(need)
                    if self._is_to_be_had(artifact)
                ]
                return paths[0] if isinstance(need, Artifact) else paths

            return {key: given(need) for key, need in needs_of(self.study, name).items()}

        return inputs

    def _key(self, stage: str) -> Callable[[Any], str]:
        """Return the function that gives a job's cumulative key."""

        def key(wildcards: Any) -> str:
            found = self.keys(stage, *map(str, wildcards)).key
            self.write_plan()
            return found

        return key

    def write_plan(self) -> None:
        """Write the plan of the run and tell the processes of its jobs where it is.

        Called whenever a job is about to start. Nothing happens in a dry run, in a process that was
        handed a plan, and while there are no other jobs than in the plan that was written.
        """
        from snakemake.exceptions import WorkflowError

        if not self._main or len(self.keys) == self._planned or self._workflow.dryrun:
            return
        self._planned = len(self.keys)
        try:
            path = write_snapshot(self.keys, self.keys.known(), self.results, self._plans)
        except OSError as error:
            raise WorkflowError(
                f"{self.results}: the plan of the run cannot be written there ({error.strerror}); "
                "allow writing to the results, or run elsewhere"
            ) from None
        self._plans.append(path)
        os.environ[VARIABLE] = str(path)
        contained = "APPTAINER" in _deployment(self._workflow)
        built_by = {architecture_library(one.architecture) for one in self.study.zoo.values()}
        warm.allow(
            here=self._workflow.local_exec and not contained, libraries=sorted(built_by - {None})
        )
        settings = self._workflow.config_settings
        own = [text for text in settings.config_args or () if not text.startswith(_HANDED_ON)]
        settings.config_args = [*own, f"{_HANDED_ON}={_HEX}{str(path).encode().hex()}"]

    def _follow_races(self, name: JobId) -> None:
        """Take over rounds that were decided meanwhile, before the inputs of `name` are told.

        A round that is decided is a finished checkpoint: Snakemake asks for the inputs of the jobs
        that read it once more. The jobs below those it does not ask, so their keys are made here.
        """
        changed = self._races.follow()
        for known in (self._known, self._fresh, self.stale):
            for job in changed:
                known.pop(job, None)
        if changed:
            self._planned = 0
            rounds = {("choose", *job) for job in STAGES["choose"].jobs(self.study)}
            for job in changed:
                if job[0] != "choose" or job in rounds:
                    self.keys(*job)
        if name[0] == "choose" and self.is_open(name):
            # Missing or edited, and tables that are there would be no reason to make it anew.
            decision = STAGES["choose"].path(name[1:], "decision")
            self._workflow.dag.forcefiles.add(self.path(decision))

    def is_open(self, name: JobId) -> bool:
        """Tell whether a job is the next round of a race that goes on."""
        stage, *place = name
        return stage == "choose" and open_rounds(self.study).get(tuple(place[:2])) == int(place[2])

    @property
    def jobs_in_run(self) -> int:
        """How many jobs the run has, the closing one included; a race's rounds bring more."""
        return len(self._workflow.dag)

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
        if os.path.exists(self.path(path_of(artifact))):
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
            all_above = above(self.study, name)
            self._fresh[name] = name not in self.stale and all(map(self._is_not_stale, all_above))
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
        record, wildcards = STAGES[name[0]], name[1:]
        paths = [self.path(record.path(wildcards, output)) for output in record.files]
        existing = [path for path in paths if os.path.exists(path)]
        key = self.keys(*name).key
        for path in existing:
            found = read_stamp(path)
            if found is None or found.key != key:
                self.stale[name] = found
                self._workflow.dag.forcefiles.add(path)
                return False
        return bool(existing)


def _deployment(workflow: Any) -> set[str]:
    """Name what the software of the jobs is deployed by."""
    settings = getattr(workflow, "deployment_settings", None)
    return {method.name for method in getattr(settings, "deployment_method", ())}


def _read_user_files(keys: Keys) -> None:
    """Look at the user's files before anything is planned: a fault in them ends it here."""
    study = keys.study
    jobs = [("manifest", name) for name in datasets_in_use(study)]
    files = [name for name, entry in study.zoo.items() if entry.lies_here]
    jobs += [("load_weights", name) for name in files]
    jobs += [("choose", *place, "0") for place in study.races()]
    try:
        for job in [*jobs, ("aggregate",)]:
            keys.content(job)
    except (DatasetError, OSError) as error:
        raise StudyError(str(error)) from None
    for i, path in enumerate(study.history):
        # Late: most studies name none.
        import pyarrow.parquet

        try:
            pyarrow.parquet.read_metadata(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise StudyError(
                f"history[{i}]: {path} cannot be read as Parquet ({error}); name a table of an "
                "earlier study, or leave it out"
            ) from None


def _check_races_can_be_followed(workflow: Any, study: Study) -> None:
    """Rounds are read by this process, from its own file system."""
    if study.races() and workflow.storage_settings.default_storage_provider:
        raise StudyError(
            "choose: the rounds of a race are read from the results, which lie in a remote storage "
            "here; run without --default-storage-provider, or name the fine-tunes in `finetunes`"
        )


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
