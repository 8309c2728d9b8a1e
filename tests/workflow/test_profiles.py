"""Settings of the profiles that results depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml"))


@pytest.mark.parametrize("name", PROFILES)
def test_profile_runs_nothing_again_but_what_the_keys_say(name):
    """`code` would run every job of a touched script again, `params` and `input` copied results."""
    settings = yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
    assert settings["rerun-triggers"] == ["mtime"]
    assert settings["rerun-incomplete"] is True
