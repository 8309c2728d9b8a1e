"""The user's folders and files that a study names: all there before any job, or one error.

Of weights it is looked at too what kind of file they are.

A missing folder must not look like a changed one: Snakemake would run everything below it again,
and delete what was there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xferpipe.config.load import StudyError
from xferpipe.config.study import Study
from xferpipe.datasets.package_files import is_installed, package_weights
from xferpipe.datasets.weight_files import fault_of


def check_user_files(study: Study) -> None:
    """Check that every folder and file of the user that the study's jobs read can be read.

    Args:
        study: The checked study. Data sets that nothing of it uses are passed over.
    Raises:
        StudyError: Some are missing, or are no weights; names all of them.
    """
    if missing := missing_files(study):
        raise StudyError(
            "files that the study names are missing, or not what they should be:\n"
            + "\n".join(f"  {line}" for line in missing)
            + "\nNothing was run and nothing was changed."
        )


def missing_files(study: Study) -> list[str]:
    """Return one line for each fault: key, path, where it was looked for or what it is, cure.

    Packages of weights that are not installed have one line together.
    """
    lines = [
        line
        for key, path, folder in _named(study)
        if (line := _fault(key, path, folder=folder)) is not None
    ]
    for name, entry in study.zoo.items():
        if entry.weights == "file" and (line := _weights_fault(name, Path(entry.name))) is not None:
            lines.append(line)
        if entry.weights == "package" and (line := _package_fault(name, entry.name)) is not None:
            lines.append(line)
    return lines + _missing_packages(study)


def _missing_packages(study: Study) -> list[str]:
    wanted = {name: one.name for name, one in study.zoo.items() if one.weights == "package"}
    missing = {name: package for name, package in wanted.items() if not is_installed(package)}
    if not missing:
        return []
    keys = ", ".join(f"zoo.{name}.name" for name in missing)
    packages = " ".join(dict.fromkeys(missing.values()))
    return [
        f"{keys}: not installed for this Python; run: pip install {packages} (those of the default "
        "study come with: pip install 'xferpipe[demo]')"
    ]


def _named(study: Study) -> Iterator[tuple[str, Path, bool]]:
    """Yield (key, path, whether it is a folder) of what the study's jobs read."""
    for name in datasets_in_use(study):
        dataset = study.datasets[name]
        if not getattr(dataset, "reads_own_files", True):
            continue
        for place in sorted(dataset.places()):
            path = getattr(dataset, place)
            if path is not None:
                yield f"datasets.{name}.{place}", path, place == "root"
    if study.selection.own_results is not None:
        yield "selection.own_results", study.selection.own_results, False
    for i, path in enumerate(study.history):
        yield f"history[{i}]", path, False


def datasets_in_use(study: Study) -> list[str]:
    """Return the data sets that a target, a pretraining or an expert of the study reads."""
    used = [target.dataset for target in study.targets.values()]
    for entry in study.zoo.values():
        if entry.weights == "pretrain":
            used.append(entry.source)
        if entry.weights == "expert":
            used += study.experts[entry.expert].sources
    return list(dict.fromkeys(used))


def _weights_fault(name: str, path: Path) -> str | None:
    """Say what is wrong with a zoo entry's weights; a folder may have them too."""
    key = f"zoo.{name}.name"
    if not path.is_dir() and (missing := _fault(key, path, folder=False)) is not None:
        return missing
    fault = fault_of(path)
    return None if fault is None else f"{key}: {fault}"


def _package_fault(name: str, package: str) -> str | None:
    """Say what is wrong with the weights of a package that is installed."""
    if not is_installed(package):
        return None
    from xferpipe.datasets.checks import DatasetError

    try:
        fault = fault_of(package_weights(package))
    except DatasetError as error:
        fault = str(error)
    return None if fault is None else f"zoo.{name}.name: {fault}"


def _fault(key: str, path: Path, *, folder: bool) -> str | None:
    """Say what is wrong with one path and what to do; None where it is there."""
    kind, other = ("folder", "file") if folder else ("file", "folder")
    if path.is_dir() if folder else path.is_file():
        return None
    where = "" if path.is_absolute() else f" (relative to the working directory {Path.cwd()})"
    if path.exists():
        return f"{key}: {path}{where} is a {other}, expected a {kind}; correct the path"
    cure = f"put the {kind} there, correct the path"
    cure += (
        ", or mount its disk" if path.is_absolute() else ", or start in the folder it counts from"
    )
    return f"{key}: {path}{where}: no such {kind}; {cure}"
