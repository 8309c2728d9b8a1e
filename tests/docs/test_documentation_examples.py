"""What the documentation says is done here, word by word."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from xferpipe.config import load_study

ROOT = Path(__file__).resolve().parents[2]


def copy_workflow(folder):
    """Put what a clone has beside its package into a folder."""
    for name in ("Snakefile", "config.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "csrc").symlink_to(ROOT / "csrc")


@pytest.mark.parametrize("section", ["A score", "A data set", "An architecture"])
def test_extending_section_followed_word_by_word_works(page, section):
    extending = page("docs/extending.md")
    extending.copy_sources()
    blocks = extending.blocks(section)
    assert [block.language for block in blocks].count("python") >= 2
    for block in blocks:
        extending.do(block)


@pytest.mark.workflow
def test_extending_stage_followed_word_by_word_runs_in_the_workflow(page):
    extending = page("docs/extending.md")
    extending.copy_sources()
    copy_workflow(extending.folder)
    printed = [extending.do(block) for block in extending.blocks("A stage")]
    assert "digits_5_to_9" in printed[-1]
    planned = json.loads(extending.shell("xferpipe plan --json"))
    rules = {rule["rule"]: rule["jobs"] for rule in planned["rules"]}
    assert rules["balance"] == 2  # Of three targets one was done.
    assert rules["aggregate"] == 1


def test_extending_recipe_joins_the_default_study(page):
    (block,) = page("docs/extending.md").blocks("A recipe")
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    added = yaml.safe_load(block.text)
    before = len(load_study(study).runs())
    study["finetuning_recipes"] |= added["finetuning_recipes"]
    study["finetunes"] += added["finetunes"]
    loaded = load_study(study)
    assert loaded.finetuning_recipes["patient"].epochs == 30
    assert len(loaded.runs()) == before + 3 * len(loaded.zoo)


def test_command_line_page_commands_run(page):
    cli = page("docs/cli.md")
    blocks = [block for block in cli.blocks() if block.language == "sh"]
    assert len(blocks) == 2
    for block in blocks:
        cli.do(block)


def test_command_line_page_names_every_command(page):
    from xferpipe.cli import application

    named = re.findall(r"^\| `(\w+)` \|", page("docs/cli.md").text, flags=re.M)
    app = application()
    groups = [group.name for group in app.registered_groups]
    commands = [command.name for command in app.registered_commands]
    assert sorted(named) == sorted(groups + commands)


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in pages
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_readme_python_block_runs(page):
    (block,) = [block for block in page("README.md").blocks() if block.language == "python"]
    exec(compile(block.text, "README.md", "exec"), {})


def test_readme_names_commands_and_make_targets_that_exist(page):
    from xferpipe.cli import application

    text = page("README.md").text
    commands = {command.name for command in application().registered_commands}
    assert set(re.findall(r"`(?:\.venv/bin/)?xferpipe (\w+)", text)) <= commands
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = re.findall(r"(?:^|`)make (\w[\w-]*)", text, flags=re.M)
    assert named
    assert set(named) <= targets
