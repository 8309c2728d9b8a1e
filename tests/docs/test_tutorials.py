"""The tutorials, followed word by word, end where they say."""

from __future__ import annotations

import json
import re

import polars
import pytest

PRINTED_SHARE = re.compile(r"^(0\.\d+|1\.0+) of (\d+) are right$", re.M)


def followed(tutorial):
    """Do all that a tutorial says; return the share of images held aside that it gets right.

    `make install` is left out: it made the installation that this test runs in.
    """
    printed = [tutorial.do(block) for block in tutorial.blocks()]
    (found,) = PRINTED_SHARE.findall("\n".join(printed))
    return float(found[0]), int(found[1])


@pytest.mark.slow
@pytest.mark.workflow
def test_tutorial_followed_word_by_word_ends_with_a_model_in_use(page):
    tutorial = page("docs/tutorial.md")
    share, images = followed(tutorial)
    assert images == 300
    assert share > 0.7  # A guess is right once in three.
    results = tutorial.folder / "results" / "photos"
    assert "lite" in (results / "report.html").read_text()
    runs = polars.read_csv(tutorial.folder / "finetunes.csv")
    assert 1 <= runs.height <= 6
    # Its last section: another learning rate of a recipe asks for the runs of this recipe alone.
    study = tutorial.folder / "photos.yaml"
    study.write_text(study.read_text().replace("lr: 0.05", "lr: 0.02"))
    planned = json.loads(tutorial.shell("xferpipe plan --configfile photos.yaml --json"))
    rules = {rule["rule"]: rule["jobs"] for rule in planned["rules"]}
    # A race decides anew what comes after the first of them.
    assert 1 <= rules["finetune"] <= runs.filter(recipe="head").height
    assert not rules.keys() & {"manifest", "pack", "load_weights", "features", "scores"}


@pytest.mark.slow
@pytest.mark.workflow
def test_tutorial_on_solar_cells_followed_word_by_word_ends_with_a_model_in_use(page):
    pytest.importorskip("elpv_dataset")
    tutorial = page("docs/tutorial_solar_cells.md")
    share, images = followed(tutorial)
    assert images == 200
    assert share > 0.5  # A guess is right once in four.


def test_tutorials_hold_their_images_apart(page):
    """Images to choose with and images held aside are other ones, and none is a source's."""
    tutorial = page("docs/tutorial.md")
    (block,) = [b for b in tutorial.blocks("Images") if b.language == "python"]
    tutorial.do(block)
    chosen, later = (
        {path.read_bytes() for path in (tutorial.folder / name).rglob("*.png")}
        for name in ("photos", "later")
    )
    assert (len(chosen), len(later)) == (120, 300)
    assert not chosen & later
    commands = "\n".join(b.text for b in tutorial.blocks() if b.language == "sh")
    # `small` is pretrained on UCI digits, which these images are.
    assert "small" not in commands
