"""What every rule's script does around its one function call.

The job is checked before it starts (its plan, its code, its inputs), writes its outputs beside
their places, and puts them there only when it is done and still the job that was planned.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from xferpipe.config.jobs import Job
from xferpipe.config.resolve import entries_of
from xferpipe.devices import leased
from xferpipe.rebuild import job_log
from xferpipe.rebuild.code import (
    drop_stale_bytecode,
    is_left_out,
    modules_of,
    state_of_sources,
)
from xferpipe.rebuild.environment import differing
from xferpipe.rebuild.graph import artifacts
from xferpipe.rebuild.keys import JobId, forget_code, has_plugins
from xferpipe.rebuild.layout import BENCHMARK, results_of
from xferpipe.rebuild.ownership import Ownership, SupersededError
from xferpipe.rebuild.snapshot import OWN, PlannedKeys, planned_keys
from xferpipe.records.stamp import Stamp, read_stamp, stamping, write_sidecar

J = TypeVar("J", bound=Job)

#: Folder beside a job's outputs where they lie until the job is done.
_UNFINISHED = ".unfinished-"


class StaleJobError(RuntimeError):
    """The job that runs is not the job that was planned, so its result would carry a wrong key."""


class StaleInputError(RuntimeError):
    """An input is not what the plan says it is."""


@contextlib.contextmanager
def job_script(snakemake: Any, kind: type[J], stage: str | None = None) -> Iterator[J]:
    """Give a script its job, send its output to the log, and store what it writes with its key.

    In the block, `snakemake.output` names files beside the real ones. They are renamed at its end.

    Args:
        snakemake: The object that Snakemake puts into a script.
        kind: Type of the job.
        stage: Name of the stage where it is not that of the job's type. (The rule may have another
            one, as part of another workflow.)
    Yields:
        The job. Everything the stage may know is in it.
    Raises:
        SystemExit: The stage failed; the message is in the log, and on standard error where no
            console tells it.
    """
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    # A file of its own: an older process of this job may still write to the one that is there.
    log.unlink(missing_ok=True)
    terminal = sys.stderr
    with log.open("w", buffering=1) as file, _redirected(file):
        job_log.write_to(file)
        try:
            name = (stage or kind.stage, *map(str, snakemake.wildcards))
            with _planned(snakemake, name) as job:
                yield job
        except Exception as error:
            job_log.write_failure(kind.stage, error, log, file, terminal)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=file)
            raise SystemExit(130) from None


@contextlib.contextmanager
def _redirected(file: Any) -> Iterator[None]:
    with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


@contextlib.contextmanager
def _planned(snakemake: Any, name: JobId) -> Iterator[Any]:
    keys = planned_keys()
    job, stamp = keys(*name)
    limit_threads(getattr(job, "compute_threads", snakemake.threads))
    drop_stale_bytecode()
    sources = state_of_sources()
    keys.check_current(stamp.job)
    _check_parts(keys, name, stamp)
    _check_inputs(keys, name, snakemake.input)
    results = results_of(keys.study.name, smoke=keys.study.whole is not None)
    owner = Ownership(results / OWN / "owners" / _file_name(stamp.job))
    places = [Path(path) for path in snakemake.output]
    with _owned(owner), _unfinished(places, stamp) as unfinished, stamping(stamp), _device(job):
        snakemake.output = _moved(snakemake.output, unfinished)
        before = _loaded()
        yield job
        _check_imports(job, before)
        # The modules were imported since the first check: were their files edited meanwhile?
        if state_of_sources() != sources or has_plugins(job):
            forget_code()
        _check_parts(keys, name, stamp)
        _check_stamps(unfinished, stamp)
        with owner.held():
            keys.check_current(stamp.job)
            for written, place in zip(unfinished, places, strict=True):
                _put(written, place)


def limit_threads(threads: int) -> None:
    """Have libraries compute with so many threads: those to come by variables, others by a call.

    The number of threads changes the last digits of sums, and so is part of a result.
    """
    from threadpoolctl import threadpool_limits

    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    threadpool_limits(threads)


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


def _moved(output: Any, unfinished: list[Path]) -> Any:
    """Return Snakemake's named list of outputs with other paths."""
    paths = dict(zip(map(str, output), map(str, unfinished), strict=True))
    return type(output)(toclone=output, custom_map=lambda path: paths[str(path)])


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
    above = [keys(*job).key for job in keys.graph.above(*name)]
    now = keys.keyed(name, above).stamp
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


def _check_inputs(keys: PlannedKeys, name: JobId, given: Any) -> None:
    """An input that another plan's job wrote, or somebody edited, would give a wrong result."""
    for input_name, need in keys.graph.needs(*name).items():
        needed = [one for one in artifacts({input_name: need}) if one.name != BENCHMARK]
        if not needed:
            continue
        found = given.get(input_name, [])
        paths = [found] if isinstance(found, str) else list(found)
        for artifact, path in zip(needed, paths, strict=True):
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


def _check_imports(job: Job, before: set[str]) -> None:
    """A module that ran but is not in the key would make a later change of it go unseen.

    Args:
        job: The job.
        before: Modules that this frame itself loaded, to make keys with.
    """
    covered = set(modules_of(job.stage, entries_of(job)))
    extra = sorted(
        name
        for name in _loaded() - covered - before
        if not is_left_out(name) and getattr(sys.modules[name], "__file__", "").endswith(".py")
    )
    if extra:
        raise StaleJobError(
            f"stage {job.stage} ran modules that its key does not cover: {', '.join(extra)}; "
            "import them in the stage's modules, or name them in config.resolve.entries_of"
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
