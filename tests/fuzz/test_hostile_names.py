"""Names that a shell would act on, through every rule: nothing runs, nothing is written outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy
import polars
import pytest
from PIL import Image

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("hostile")]

CLASSES = ["a b", "a'b\"c", "$(touch pwned)", "`touch pwned`; touch pwned", "größe 猫", "-rf {x}"]
FOLDER = 'it\'s a "folder" $(touch pwned) ; & | größe'


@pytest.fixture
def hostile(finished_run, tiny_study, tmp_path):
    """The tiny study with a target whose folder, classes and files have names for a shell."""
    root = tmp_path / FOLDER / "images & more"
    generator = numpy.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for label in CLASSES:
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (12, 12, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / f"{label} $(touch pwned) {split} {i}.png")
    tiny_study["datasets"]["digits"] = {
        "reader": "image_folder",
        "root": str(root),
        "image_px": 16,
    }
    return replace(finished_run, directory=tmp_path / FOLDER / "run", study=tiny_study)


@pytest.mark.slow
def test_names_for_a_shell_go_through_every_rule_as_names(hostile, tmp_path):
    hostile.directory.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if hostile.directory not in path.parents}
    hostile.run()
    results = hostile.directory / "results"
    assert (results / "report.html").exists()
    manifest = polars.read_parquet(results / "manifest" / "digits" / "manifest.parquet")
    assert set(manifest["class_name"]) == set(CLASSES)
    after = {path for path in tmp_path.rglob("*") if hostile.directory not in path.parents}
    assert after == before, "something was written outside the run's folder"
    inside = {path.name for path in hostile.directory.iterdir()}
    assert inside == {"results", ".snakemake", "study.yaml"}
    assert not list(tmp_path.rglob("pwned"))


def test_scripts_and_rules_start_no_shell():
    """Every rule is a script, and no script hands a name to a shell."""
    root = Path(__file__).resolve().parents[2]
    for rules in (root / "workflow" / "rules").glob("*.smk"):
        words = {line.strip() for line in rules.read_text().splitlines()}
        assert not words & {"shell:", "run:"}, rules
    for source in [*(root / "workflow" / "scripts").glob("*.py"), *(root / "src").rglob("*.py")]:
        text = source.read_text()
        assert "shell=True" not in text, source
        assert "os.system(" not in text, source
