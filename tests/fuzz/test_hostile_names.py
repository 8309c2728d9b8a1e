"""Names that a shell would act on, through every rule: nothing runs, nothing is written outside."""

from __future__ import annotations

import re
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
    # The source too: its images go through pretraining, probes and paths.
    trained = tiny_study["zoo"]["trained"] | {"source": "digits"}
    tiny_study["zoo"]["trained"] = trained
    return replace(finished_run, directory=tmp_path / FOLDER / "run", study=tiny_study)


def with_the_other_rules(study):
    """Add what the tiny study leaves out; return one result of each further rule."""
    trained = study["zoo"]["trained"]
    study["pretraining_recipes"]["other"] = study["pretraining_recipes"]["upstream"] | {"lr": 0.02}
    study["zoo"]["other"] = trained | {"recipe": "other"}
    study["experts"] = {
        "both": {
            "mode": "shared",
            "sources": ["source", "digits"],
            "recipe": "upstream",
            "images_per_domain": 36,
        }
    }
    domain = {name: value for name, value in trained.items() if name != "recipe"}
    domain |= {"weights": "expert", "expert": "both"}
    for source in ("source", "digits"):
        study["zoo"][f"both_{source}"] = domain | {"source": source}
    study["scores"]["methods"] += ["lgc", "rsa"]
    study["scores"]["reference"] = {"model": "drawn", "recipe": "sgd"}
    study["minimisers"] = {
        "sample": {"train_images": 36, "batch_size": 18, "refresh_batch_size": 18},
        "inputs": {"noise_repeats": 2, "mask_repeats": 2},
        "energy": {"draws": 2},
        "paths": {"points": 3, "steps": 2, "batch_size": 18},
        "finetuned": ["sgd"],
        "continual": {"recipe": "sgd", "models": ["trained"]},
    }
    study["export"] = {"targets": "all", "onnx": True}
    return (
        f"results/{study['name']}/export/digits/full/README.md",
        f"results/{study['name']}/export/digits/full/model.onnx",
        f"results/{study['name']}/gradients/digits/full/drawn/gradients.safetensors",
        f"results/{study['name']}/reference/digits/full/features.safetensors",
        f"results/{study['name']}/zoo/both_digits/weights.safetensors",
        f"results/{study['name']}/probe/trained/minimisers.parquet",
        f"results/{study['name']}/path/trained/other/paths.parquet",
        f"results/{study['name']}/probe_finetuned/digits/full/trained/sgd/seed0/minimisers.parquet",
        f"results/{study['name']}/continual/digits/trained/seed0/forgetting.parquet",
    )


def rules():
    """Name every rule but `all`, which runs nothing."""
    root = Path(__file__).resolve().parents[2]
    texts = [path.read_text() for path in (root / "workflow" / "rules").glob("*.smk")]
    return {name for text in texts for name in re.findall(r"^rule (\w+):", text, re.MULTILINE)}


@pytest.mark.slow
def test_names_for_a_shell_go_through_every_rule_as_names(hostile, tmp_path):
    hostile.directory.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if hostile.directory not in path.parents}
    hostile.run()
    results = hostile.results
    assert (results / "report.html").exists()
    hostile.run(*with_the_other_rules(hostile.study))
    assert {path.stem for path in (results / "logs").iterdir()} == rules()
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
