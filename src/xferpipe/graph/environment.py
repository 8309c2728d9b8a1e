"""What computes beside our own code: the versions of libraries, and where they come from."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from xferpipe.graph.stages import STAGES

#: Between the pinned version and the installed one, where they differ.
_INSTALLED = ", installed "
_ALL = sorted({name for stage in STAGES.values() for name in stage.libraries})


@dataclass(frozen=True)
class Environment:
    """What a run computes with.

    Attributes:
        file: Hash of the conda environment file and its post-deploy script.
        versions: Distribution -> version that jobs compute with.
    """

    file: str
    versions: dict[str, str]

    def of_stage(self, stage: str) -> str:
        """Return the versions that a stage's result depends on, as sorted JSON."""
        libraries = STAGES[stage].libraries
        return json.dumps({name: self.versions[name] for name in libraries}, sort_keys=True)


def environment_of(root: Path, *, conda: bool) -> Environment:
    """Return what the jobs of a workflow compute with.

    Args:
        root: Folder of the Snakefile, with `requirements.lock` and `workflow/envs`.
        conda: Whether jobs run in the conda environment, which holds what the lock file pins;
            else they run with what is installed here.
    Returns:
        The environment; equal for both ways where what is installed is what is pinned.
    """
    pins = _pins(root / "requirements.lock")
    versions = {}
    for name in _ALL:
        pinned = pins.get(_normal(name), "")
        own = "" if conda else installed(name)
        # A pin counts although another version is installed: the lock file is what a study names.
        known = [pinned, own] if own != pinned else [pinned]
        versions[name] = _INSTALLED.join(version for version in known if version)
    return Environment(_file_hash(root / "workflow" / "envs" / "xferpipe.yaml"), versions)


def differing(versions: str) -> list[str]:
    """Say which libraries of this process are not those that a job was planned with.

    Args:
        versions: What `Environment.of_stage` returned to the plan.
    """
    return [
        f"{name} {installed(name) or 'absent'}, planned with {planned}"
        for name, planned in json.loads(versions).items()
        if installed(name) != planned.split(_INSTALLED)[-1]
    ]


@functools.cache
def installed(name: str) -> str:
    """Return the installed version of a distribution, without its local part; empty if absent."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return ""


def _pins(lock: Path) -> dict[str, str]:
    """Read the versions that a lock file pins for this Python; empty without a lock file."""
    from packaging.requirements import Requirement

    pins = {}
    for line in lock.read_text().splitlines() if lock.is_file() else ():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.partition("#")[0])
            if requirement.marker is None or requirement.marker.evaluate():
                pins[_normal(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return pins


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _file_hash(environment: Path) -> str:
    """Hash an environment file and its post-deploy script; comments do not count."""
    if not environment.is_file():
        return ""
    content = repr(yaml.safe_load(environment.read_text()))
    script = environment.with_name(environment.stem + ".post-deploy.sh")
    if script.is_file():
        lines = (line.strip() for line in script.read_text().splitlines())
        content += "\n".join(line for line in lines if line and not line.startswith("#"))
    return hashlib.sha256(content.encode()).hexdigest()
