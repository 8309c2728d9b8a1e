"""Where the commands find the tables of a study that no option names."""

from __future__ import annotations

from pathlib import Path

#: Folder that the workflow writes to, below the one that it is started in.
_RESULTS = Path("results")


def tables_folder(given: Path | None, option: str) -> Path:
    """Return the folder of result tables: the given one, or that of the only study there is.

    Args:
        given: What the command's option says.
        option: Name of that option, for the error.
    Raises:
        FileNotFoundError: No study below `results` has tables.
        ValueError: Several have.
    """
    if given is not None:
        return given
    found = sorted(path for path in _RESULTS.glob("*/tables") if path.is_dir())
    if not found:
        raise FileNotFoundError(2, "no tables here; run `snakemake --cores all`", str(_RESULTS))
    if len(found) > 1:
        names = ", ".join(path.parent.name for path in found)
        raise ValueError(
            f"{_RESULTS} holds the tables of several studies: {names}; "
            f"give {option} {_RESULTS}/<study>/tables"
        )
    return found[0]
