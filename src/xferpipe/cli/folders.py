"""Where the commands find the tables of a study."""

from __future__ import annotations

from pathlib import Path

#: Folder that the workflow writes to, below the one that it is started in.
_RESULTS = Path("results")
_MAKE_THEM = "`xferpipe run FOLDER` or `snakemake --cores all` makes them"


def tables_folder(given: Path | None) -> Path:
    """Return the folder of result tables that `--results` means.

    Args:
        given: Folder of tables, results of a study, or a folder that holds the results of one
            study; None: `results`.
    Raises:
        FileNotFoundError: There is no such folder, or no table in it.
        ValueError: It is a file, or holds the results of several studies.
    """
    folder = _RESULTS if given is None else given
    if folder.is_file():
        raise ValueError(f"--results {folder} is a file; give the folder of a study's results")
    if given is not None and not folder.exists():
        raise FileNotFoundError(2, _without(folder), str(folder))
    if any(folder.glob("*.parquet")):
        return folder
    if _has_tables(folder / "tables"):
        return folder / "tables"
    found = sorted(path for path in folder.glob("*/tables") if _has_tables(path))
    if not found:
        raise FileNotFoundError(2, f"no tables here; {_MAKE_THEM}", str(folder))
    if len(found) > 1:
        names = ", ".join(path.parent.name for path in found)
        raise ValueError(
            f"{folder} holds the tables of several studies: {names}; name one, as --results "
            f"{found[0].parent}"
        )
    return found[0]


def _has_tables(folder: Path) -> bool:
    return any(folder.glob("*.parquet"))


def _without(folder: Path) -> str:
    """Say what lies where a missing folder was looked for."""
    from xferpipe.config.nearest import suggestion

    siblings = [path.parent for path in folder.parent.glob("*/tables") if _has_tables(path)]
    if not siblings:
        return f"no such folder; give the results of a study: {_MAKE_THEM}"
    near = suggestion(str(folder), map(str, siblings))
    return f"no such folder{near}; there are: {', '.join(sorted(map(str, siblings)))}"
