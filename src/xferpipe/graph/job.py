"""What the script of every rule does: it runs the stage's function with the rule's files.

The job is checked before it starts (its plan, its code, its inputs), writes its outputs beside
their places, and puts them there only when it is done and still the job that was planned.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xferpipe.config.jobs import Job
from xferpipe.devices import leased
from xferpipe.graph import job_log
from xferpipe.graph.code import is_left_out
from xferpipe.graph.environment import differing
from xferpipe.graph.first_seconds import keep_first_seconds
from xferpipe.graph.graph import JobId, above, needs_of
from xferpipe.graph.keys import has_plugins
from xferpipe.graph.races import lies_below_races, open_rounds
from xferpipe.graph.snapshot import OWN, PlannedKeys, planned_keys
from xferpipe.graph.sources import drop_stale_bytecode, state_at_start, state_of_sources
from xferpipe.graph.stage import BENCHMARK, SIDECAR, Artifact, Need, Needs, artifacts
from xferpipe.graph.stages import STAGES
from xferpipe.graph.usage import processor_seconds, write_usage
from xferpipe.records.ownership import Ownership, SupersededError
from xferpipe.records.stamp import Stamp, read_stamp, stamping, write_sidecar

#: Folder beside a job's outputs where they lie until the job is done.
_UNFINISHED = ".unfinished-"


class StaleJobError(RuntimeError):
    """The job that runs is not the job that was planned, so its result would carry a wrong key."""


class StaleInputError(RuntimeError):
    """An input is not what the plan says it is."""


def run(snakemake: Any) -> None:
    """Run the job of a rule, send its output to the log, and store what it writes with its key.

    Args:
        snakemake: The object that Snakemake puts into a script.
    Raises:
        SystemExit: The stage failed; the message is in the log, and on standard error where no
            console tells it.
    """
    # Not the rule's name: as part of another workflow it may have another one.
    stage = snakemake.params.stage
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    # A file of its own: an older process of this job may still write to the one that is there.
    log.unlink(missing_ok=True)
    terminal = sys.stderr
    with log.open("w", buffering=1) as file, _redirected(file):
        job_log.write_to(file)
        try:
            _run((stage, *map(str, snakemake.wildcards)), snakemake)
        except Exception as error:
            job_log.write_failure(stage, error, log, file, terminal)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=file)
            raise SystemExit(130) from None


@contextlib.contextmanager
def _redirected(file: Any) -> Iterator[None]:
    with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


def _run(name: JobId, snakemake: Any) -> None:
    stage = STAGES[name[0]]
    sources = state_at_start()
    keys = planned_keys()
    job, stamp = keys(*name)
    limit_threads(getattr(job, "compute_threads", snakemake.threads))
    drop_stale_bytecode()
    keys.check_current(stamp.job)
    _check_parts(keys, name, stamp)
    _check_races_have_ended(keys, name)
    needs = needs_of(keys.study, name)
    _check_inputs(keys, needs, snakemake.input)
    owner = Ownership(keys.study.results / OWN / "owners" / _file_name(stamp.job))
    places = [Path(path) for path in snakemake.output]
    with _owned(owner), _unfinished(places, stamp) as unfinished, stamping(stamp), _device(job):
        before = _loaded()
        function = getattr(importlib.import_module(f"xferpipe.stages.{stage.name}"), stage.name)
        files = {**_inputs(needs, snakemake.input), **_outputs(stage.outputs, unfinished)}
        if stage.trains:
            files["checkpoint"] = Path(snakemake.params.checkpoint)
        began, used = time.monotonic(), processor_seconds()
        function(job, **files)
        computing, used = time.monotonic() - began, processor_seconds() - used
        _check_imports(keys, stage.name, job, before)
        # The modules were imported since the first check: were their files edited meanwhile?
        if state_of_sources() != sources or has_plugins(job):
            keys.hash_anew()
        _check_parts(keys, name, stamp)
        _check_stamps(unfinished, stamp)
        with owner.held():
            keys.check_current(stamp.job)
            if stage.timed is not None:
                table = stage.tables[stage.timed]
                keep_first_seconds(table, files[stage.timed], stamp.key, keys.study.results)
            for written, place in zip(unfinished, places, strict=True):
                _put(written, place)
    write_usage(keys.study.results / stage.path(name[1:], BENCHMARK))
    logging.getLogger("xferpipe").info(
        "computing took %.2f s, %.2f s of processor time; with all around it %.2f s",
        *(computing, used, processor_seconds()),
    )


def _inputs(needs: Needs, given: Any) -> dict[str, Any]:
    """Return the inputs as a stage's function takes them: the form of its needs, with paths."""
    return {name: _filled(need, iter(_listed(given, name))) for name, need in needs.items()}


def _filled(need: Need, paths: Iterator[str]) -> Any:
    if isinstance(need, Artifact):
        return Path(next(paths))
    if isinstance(need, dict):
        return {name: _filled(inner, paths) for name, inner in need.items()}
    if isinstance(need, list):
        # A benchmark may be missing, and is not among the paths then.
        return [Path(path) for _, path in zip(need, paths, strict=False)]
    return need


def _listed(given: Any, name: str) -> list[str]:
    """Return the paths of one of Snakemake's named inputs."""
    found = given.get(name, [])
    return [found] if isinstance(found, str) else list(found)


def _outputs(
    outputs: Mapping[str, str | Mapping[str, str]], unfinished: list[Path]
) -> dict[str, Any]:
    """Return the outputs as a stage's function takes them, in the order of its record."""
    paths = iter(unfinished)
    files = {
        name: next(paths) if isinstance(file, str) else {inner: next(paths) for inner in file}
        for name, file in outputs.items()
    }
    files.pop(SIDECAR, None)
    return files


def limit_threads(threads: int) -> None:
    """Have libraries compute with so many threads: those to come by variables, others by a call.

    The number of threads changes the last digits of sums, and so is part of a result.
    """
    from threadpoolctl import threadpool_limits

    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    threadpool_limits(threads)
    # Loaded only where the job was forked from a warm process; the call counts for all its threads.
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _owned(owner: Ownership) -> Iterator[None]:
    """Own the job for the block; a job that fails leaves no owner."""
    owner.take()
    try:
        yield
    except BaseException:
        with contextlib.suppress(SupersededError), owner.held():
            pass
        raise


@contextlib.contextmanager
def _unfinished(places: list[Path], stamp: Stamp) -> Iterator[list[Path]]:
    """Give a path for each output in a folder beside it; what its older processes left goes away.

    The folder is named after the job: others may write into the same one at this time.
    """
    folders = list(dict.fromkeys(place.parent for place in places))
    beginning = f"{_UNFINISHED}{_file_name(stamp.job)}-"
    name = f"{beginning}{uuid.uuid4().hex[:12]}"
    for folder in folders:
        for left in folder.glob(f"{beginning}*"):
            shutil.rmtree(left, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    try:
        yield [place.parent / name / place.name for place in places]
    finally:
        for folder in folders:
            shutil.rmtree(folder / name, ignore_errors=True)


def _file_name(job: str) -> str:
    """Return one short file name for a job, whose own name may be longer than a file's may be."""
    return f"{job.split()[0]}-{hashlib.sha256(job.encode()).hexdigest()[:20]}"


def _put(written: Path, place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    written.replace(place)


def _device(job: Job) -> contextlib.AbstractContextManager[Any]:
    """Hold a GPU for a job that wants one; a job of several processes takes what it is given."""
    if getattr(getattr(job, "recipe", None), "processes", 1) > 1:
        return contextlib.nullcontext()
    return leased(getattr(job, "device", "cpu"))


def _check_parts(keys: PlannedKeys, name: JobId, stamp: Stamp) -> None:
    """What runs must be what was hashed: code, libraries and the user's own files."""
    if others := differing(stamp.versions):
        raise StaleJobError(
            f"{stamp.job} would compute with other libraries than planned: {'; '.join(others)}; "
            "install those of requirements.lock, or run snakemake again to plan with these"
        )
    keys_above = [keys(*job).key for job in above(keys.study, name)]
    now = keys.keyed(name, keys_above).stamp
    if now.code != stamp.code:
        what = f"the code of stage {name[0]}"
    elif now.key != stamp.key:
        what = "a file of yours that it reads"
    else:
        return
    raise StaleJobError(
        f"{stamp.job}: {what} changed after the workflow was planned; run snakemake again, it "
        "will plan with what is there then"
    )


def _check_races_have_ended(keys: PlannedKeys, name: JobId) -> None:
    """Tables without the runs of a race that goes on would be taken for the whole."""
    rounds = open_rounds(keys.study)
    if lies_below_races(name) and rounds:
        raise StaleJobError(
            f"{' '.join(name)} was started before its races had ended: round "
            + ", ".join(f"{number} of {'/'.join(place)}" for place, number in rounds.items())
            + " is open; run snakemake again for all"
        )


def _check_inputs(keys: PlannedKeys, needs: Needs, given: Any) -> None:
    """An input that another plan's job wrote, or somebody edited, would give a wrong result."""
    for input_name, need in needs.items():
        needed = [one for one in artifacts(need) if one.name != BENCHMARK]
        if not needed:
            continue
        for artifact, path in zip(needed, _listed(given, input_name), strict=True):
            expected = keys(artifact.stage, *artifact.wildcards).stamp
            stamp = read_stamp(path)
            if stamp is None or stamp.key != expected.key:
                held = f"key {stamp.key[:12]} of {stamp.job}" if stamp else "no key"
                raise StaleInputError(
                    f"{path} holds {held}, expected {expected.key[:12]} of {expected.job}: it is "
                    "of another study, another program wrote it, or it is damaged; run snakemake "
                    "again, which makes it anew"
                )


def _loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("xferpipe.")}


def _check_imports(keys: PlannedKeys, stage: str, job: Job, before: set[str]) -> None:
    """A module that ran but is not in the key would make a later change of it go unseen.

    Args:
        keys: The plan.
        stage: Name of the stage.
        job: The job.
        before: Modules that this frame itself loaded, to make keys with.
    """
    covered = set(keys.modules(stage, job))
    extra = sorted(
        name
        for name in _loaded() - covered - before
        if not is_left_out(name) and getattr(sys.modules[name], "__file__", "").endswith(".py")
    )
    if extra:
        raise StaleJobError(
            f"stage {stage} ran modules that its key does not cover: {', '.join(extra)}; "
            "import them in the stage's modules, or name them in graph.entries"
        )


def _check_stamps(unfinished: list[Path], stamp: Stamp) -> None:
    for path in unfinished:
        write_sidecar(path, stamp)
    for path in unfinished:
        found = read_stamp(path)
        if found is None or found.key != stamp.key:
            raise StaleJobError(
                f"stage {stamp.job.split()[0]} wrote {path.name} without its key; write it through "
                "xferpipe.records"
            )
