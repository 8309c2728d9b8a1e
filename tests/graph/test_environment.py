"""What computes beside our own code: the pins of the lock file, and what is installed."""

import json

import pytest

from xferpipe.graph import environment
from xferpipe.graph.environment import differing, environment_of

ENVS = ("workflow", "envs")


@pytest.fixture
def root(tmp_path):
    """A folder with a lock file of the installed versions and an environment file."""
    folder = tmp_path.joinpath(*ENVS)
    folder.mkdir(parents=True)
    (folder / "xferpipe.yaml").write_text("dependencies: [python]\n")
    (folder / "xferpipe.post-deploy.sh").write_text("pip install x\n")
    lines = [
        f"{name.lower()}=={environment.installed(name)}\n    # via somebody\n"
        for name in environment._ALL
    ]
    lines.append("numpy==0.1 ; python_full_version < '3'\n")
    (tmp_path / "requirements.lock").write_text("".join(lines))
    return tmp_path


def test_switch_to_conda_changes_nothing_where_the_pins_are_installed(root):
    assert environment_of(root, conda=True) == environment_of(root, conda=False)


def test_pin_of_another_python_does_not_count(root):
    assert environment_of(root, conda=True).versions["numpy"] == environment.installed("numpy")


@pytest.mark.parametrize("conda", [True, False])
def test_changed_pin_counts(root, conda):
    before = environment_of(root, conda=conda)
    lock = root / "requirements.lock"
    lock.write_text(
        lock.read_text().replace(f"torch=={environment.installed('torch')}", "torch==9")
    )
    after = environment_of(root, conda=conda)
    assert before.of_stage("finetune") != after.of_stage("finetune")
    assert before.of_stage("report") == after.of_stage("report")


def test_other_installed_version_counts_without_conda(root, monkeypatch):
    before = environment_of(root, conda=False)
    known = environment.installed
    monkeypatch.setattr(
        environment, "installed", lambda name: "9.9" if name == "torch" else known(name)
    )
    assert environment_of(root, conda=False).of_stage("finetune") != before.of_stage("finetune")
    assert environment_of(root, conda=True) == before


def test_comment_in_the_environment_file_changes_nothing(root):
    file = root.joinpath(*ENVS, "xferpipe.yaml")
    script = file.with_name("xferpipe.post-deploy.sh")
    before = environment_of(root, conda=True)
    file.write_text("# why\ndependencies:\n  - python\n")
    script.write_text("# why\npip install x\n")
    assert environment_of(root, conda=True) == before
    script.write_text("pip install y\n")
    assert environment_of(root, conda=True).file != before.file


def test_library_other_than_planned_is_named():
    own = environment.installed("numpy")
    assert differing(json.dumps({"numpy": own})) == []
    assert differing(json.dumps({"numpy": f"0.1, installed {own}"})) == []
    (words,) = differing(json.dumps({"numpy": "0.1"}))
    assert words == f"numpy {own}, planned with 0.1"
