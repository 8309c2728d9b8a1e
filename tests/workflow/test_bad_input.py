"""Bad input through the real workflow: one clear error each, nothing half-written."""

import subprocess
import sys

import numpy
import polars
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image

from xferpipe.cli import WRONG_INPUT
from xferpipe.datasets.manifest import read_manifest

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

_FEED = {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = numpy.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(path)


def folder(root, classes=("cat", "dog"), images=8):
    for c, name in enumerate(classes):
        for i in range(images):
            write_image(root / name / f"{i}.jpg", seed=10 * c + i)
    return {"reader": "image_folder", "root": str(root), "image_px": 16}


def table(root, rows):
    folder(root / "images")
    polars.DataFrame(rows, orient="row", schema=["path", "label", "split"]).write_csv(
        root / "table.csv"
    )
    return {
        "reader": "table",
        "path": str(root / "table.csv"),
        "root": str(root / "images"),
        "image_px": 16,
    }


ROWS = [
    (f"{name}/{i}.jpg", c, "test" if i > 5 else "train")
    for c, name in enumerate(("cat", "dog"))
    for i in range(8)
]


def good(root):
    return folder(root)


def truncated(root):
    block = folder(root)
    file = root / "dog" / "3.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    return block


def one_class(root):
    return folder(root, classes=("cat",))


def empty_class(root):
    block = folder(root)
    (root / "mouse").mkdir()
    return block


def two_of_one_name(root):
    block = folder(root)
    write_image(root / "dog" / "3.png")
    return block


def missing_file(root):
    block = table(root, ROWS)
    (root / "images" / "dog" / "3.jpg").unlink()
    return block


def duplicate_row(root):
    return table(root, [*ROWS, ROWS[3]])


BAD_DATA = {
    truncated: ["dog/3.jpg", "copy it again"],
    one_class: ["one class", "cat"],
    empty_class: ["mouse"],
    two_of_one_name: ["two files of one name", "dog/3"],
    missing_file: ["missing file", "dog/3.jpg", "restore"],
    duplicate_row: ["cat/3.jpg", "2 times"],
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, new_workflow):
    """One run over a good data set and every bad one; returns its folder and what it printed."""
    base = tmp_path_factory.mktemp("bad")
    datasets = {make.__name__: make(base / "data" / make.__name__) for make in [good, *BAD_DATA]}
    study = {
        "name": "bad",
        "device": "cpu",
        "datasets": datasets,
        "targets": {name: {"dataset": name} for name in datasets},
        "zoo": {"drawn": {"architecture": "cifar_resnet8", "weights": "random", **_FEED}},
    }
    workflow = new_workflow(base / "run", study)
    wanted = [f"results/bad/pack/{name}/images.npy" for name in datasets]
    done = workflow.run(*wanted, ok=False)
    return workflow.directory, done.stdout + done.stderr


@pytest.mark.parametrize("make", BAD_DATA, ids=lambda make: make.__name__)
def test_bad_data_set_ends_in_one_error_with_its_place_and_cure(make, outcome):
    directory, output = outcome
    logs = [
        directory / "results" / "bad" / "logs" / stage / f"{make.__name__}.log"
        for stage in ("manifest", "pack")
    ]
    text = "".join(log.read_text() for log in logs if log.exists())
    for word in BAD_DATA[make]:
        assert word in text
        assert word in output


@pytest.mark.parametrize("make", BAD_DATA, ids=lambda make: make.__name__)
def test_bad_data_set_leaves_nothing_half_written(make, outcome):
    folder = outcome[0] / "results" / "bad" / "pack" / make.__name__
    assert not folder.exists() or list(folder.iterdir()) == []


def test_good_data_set_beside_bad_ones_is_finished(outcome):
    packed = numpy.load(outcome[0] / "results" / "bad" / "pack" / "good" / "images.npy")
    assert packed.shape == (16, 3, 16, 16)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda rows: rows.with_columns(label=polars.lit(99, dtype=polars.Int64)),
            ["label 99", "expected 0 to 2"],
        ),
        (lambda rows: polars.concat([rows, rows.head(1)]), ["manifest.parquet", "row"]),
    ],
    ids=["label outside its range", "duplicate row"],
)
def test_manifest_that_was_spoilt_is_refused_where_it_is_read_and_made_anew(finished, edit, words):
    path = finished.results / "manifest/digits/manifest.parquet"
    edit(polars.read_parquet(path)).write_parquet(path)
    with pytest.raises(ValueError, match="manifest") as refused:
        read_manifest(path)
    assert all(word in str(refused.value) for word in words)
    assert {"manifest digits", "pack digits"} <= finished.planned()


def test_more_shots_than_a_class_has_is_refused_before_any_job(tiny_study, tmp_path, new_workflow):
    tiny_study["finetunes"] = [{"targets": ["digits"], "shots": [5000], "recipes": ["sgd"]}]
    workflow = new_workflow(tmp_path, tiny_study)
    output = workflow.run(ok=False)
    assert "5000" in output.stdout + output.stderr
    assert not list((tmp_path / "results").rglob("*.safetensors"))


def test_checkpoint_of_another_architecture_lists_what_does_not_fit(finished):
    other = finished.directory / "other.safetensors"
    safetensors.torch.save_file({"stem.weight": torch.zeros(3, 3)}, other)
    finished.study["zoo"]["foreign"] = {
        **finished.study["zoo"]["drawn"],
        "weights": "file",
        "name": str(other),
    }
    study = finished.directory / "foreign.yaml"
    study.write_text(yaml.safe_dump(finished.study))
    words = ("plan", "--configfile", study, "--directory", finished.directory)
    plan = [sys.executable, "-c", "from xferpipe.cli import main; main()", *map(str, words)]
    told = subprocess.run(plan, text=True, capture_output=True, check=False)
    assert told.returncode == WRONG_INPUT
    assert f"zoo.foreign: {other}: " in told.stderr
    assert "Traceback" not in told.stderr
    done = finished.run("results/tiny/zoo/foreign/weights.safetensors", ok=False)
    output = done.stdout + done.stderr
    assert "other.safetensors" in output
    log = finished.results / "logs" / "load_weights" / "foreign.log"
    assert "stem.weight" in log.read_text()
    assert not (finished.directory / "results/tiny/zoo/foreign/weights.safetensors").exists()


def test_weights_that_give_nan_features_are_an_error_with_their_path(finished):
    weights = finished.directory / "results/tiny/zoo/drawn/weights.safetensors"
    broken = safetensors.torch.load_file(weights)
    name = next(name for name, value in broken.items() if value.is_floating_point())
    broken[name] = torch.full_like(broken[name], float("nan"))
    file = finished.directory / "broken.safetensors"
    safetensors.torch.save_file(broken, file)
    finished.study["zoo"]["broken"] = {
        **finished.study["zoo"]["drawn"],
        "weights": "file",
        "name": str(file),
    }
    wanted = "results/tiny/features/digits/full/broken/features.safetensors"
    done = finished.run(wanted, ok=False)
    assert "NaN" in done.stdout + done.stderr or "nan" in done.stdout + done.stderr
    assert not (finished.directory / wanted).exists()


def test_diverged_fine_tune_is_a_row_and_the_study_goes_on(finished):
    finished.study["finetuning_recipes"]["head"]["lr"] = 1e30
    finished.run()
    row = polars.read_parquet(
        finished.directory / "results/tiny/finetune/digits/full/trained/head/seed0/run.parquet"
    ).row(0, named=True)
    assert row["status"] == "diverged"
    assert row["reason"]
    assert row["test_accuracy"] is None
    assert (finished.results / "report.html").stat().st_size > 1000
