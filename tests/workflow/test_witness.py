"""Keys in the files are the witness: without Snakemake's records, after a move or an edit."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy
import polars
import pytest
from PIL import Image

from xferpipe.records import read_table
from xferpipe.records.stamp import read_stamp

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("witness")]

END = {"aggregate", "report", "figures"}
HEAD = {"finetune digits/full/trained/head/0"} | END


def forget_snakemake(study):
    shutil.rmtree(study.directory / ".snakemake")


def test_every_output_carries_the_key_and_slice_of_its_job(finished):
    outputs = [
        path
        for path in finished.results.rglob("*")
        if path.suffix in (".parquet", ".safetensors", ".npy", ".html", ".svg", ".png")
    ]
    assert len(outputs) > 80
    stamps = {path: read_stamp(path) for path in outputs}
    assert [str(path) for path, stamp in stamps.items() if stamp is None] == []
    run = stamps[finished.results / "finetune/digits/full/trained/head/seed0/run.parquet"]
    assert run.job == "finetune digits/full/trained/head/0"
    assert json.loads(run.slice)["recipe"]["lr"] == 0.05
    assert json.loads(run.versions)["torch"]
    assert read_stamp(finished.results / "generate" / "vehicles").job == "generate vehicles"
    assert not list(finished.directory.rglob(".unfinished*"))
    assert not list((finished.results / ".xferpipe" / "owners").iterdir())


def test_changed_value_is_planned_without_snakemakes_records(finished):
    forget_snakemake(finished)
    assert finished.planned() == set()
    finished.study["finetuning_recipes"]["head"]["lr"] = 0.06
    assert finished.planned() == HEAD


def test_touch_blesses_no_stale_result(finished):
    finished.study["finetuning_recipes"]["head"]["lr"] = 0.06
    finished.run("--touch")
    assert finished.planned() == HEAD


@pytest.mark.parametrize("records", ["with", "without"])
def test_copied_folder_runs_nothing(finished, records, tmp_path):
    """`cp -r` gives every file a date of its own, in the order of the copy."""
    copy = replace(finished, directory=tmp_path / "other place" / "copy")
    copy.directory.parent.mkdir()
    subprocess.run(["cp", "-r", str(finished.directory), str(copy.directory)], check=True)
    if records == "without":
        forget_snakemake(copy)
    for number, path in enumerate(sorted(copy.results.rglob("*"), reverse=True)):
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    assert copy.planned() == set()


def test_features_deleted_to_save_room_do_not_come_back_for_the_tables(finished):
    """The tables show what the feature passes took, and need nothing of the features."""
    for file in finished.results.glob("features/**/features.safetensors"):
        file.unlink()
    finished.study["selection"]["confidence"] = 0.9
    assert finished.planned() == END


def test_edited_table_is_made_anew_and_its_edit_shown_nowhere(finished):
    table = finished.results / "tables" / "finetunes.parquet"
    polars.read_parquet(table).with_columns(test_accuracy=polars.lit(1.0)).write_parquet(table)
    assert finished.planned() == END
    finished.run("results/tiny/tables/finetunes.parquet")
    assert read_table("finetunes", table, ours=True)["test_accuracy"].max() <= 1.0
    assert read_table("finetunes", table)["test_accuracy"].n_unique() > 1


def test_deleted_table_is_made_anew(finished):
    (finished.results / "tables" / "gains.parquet").unlink()
    assert finished.planned() == END


def test_edited_row_of_a_run_is_made_anew(finished):
    run = finished.results / "finetune/digits/full/trained/head/seed0/run.parquet"
    polars.read_parquet(run).with_columns(test_accuracy=polars.lit(1.0)).write_parquet(run)
    assert finished.planned() == HEAD


@pytest.mark.parametrize("content", [b"", b"PAR1"])
def test_file_that_was_cut_is_made_anew(finished, content):
    run = finished.results / "finetune/digits/full/trained/head/seed0/run.parquet"
    run.write_bytes(content)
    assert finished.planned() == HEAD


def test_change_below_an_edited_result_is_not_lost_behind_what_is_up_to_date(finished):
    """Snakemake looks no further below a job that runs than where it finds inputs of old dates."""
    (finished.results / "pack" / "digits" / "images.npy.json").write_text("[]")
    finished.study["scores"]["methods"] = ["lfc", "knn"]
    planned = finished.planned()
    assert {"pack digits", "scores digits/full/trained", "scores vehicles/full/drawn"} <= planned
    assert planned >= END


def test_forced_rule_runs_what_lies_below_it(finished):
    finished.study["scores"]["methods"] = ["lfc", "knn"]
    planned = finished.planned("--forcerun", "manifest")
    assert {"manifest digits", "scores digits/full/trained", "aggregate"} <= planned


def test_deleted_times_run_nothing_again(finished):
    """Table `runtime` then has no row of those jobs; no training is worth one."""
    shutil.rmtree(finished.results / "benchmarks")
    assert finished.planned() == set()
    finished.study["selection"]["confidence"] = 0.9
    assert finished.planned() == END
    finished.run("results/tiny/tables/runtime.parquet")
    assert read_table("runtime", finished.results / "tables" / "runtime.parquet").height == 0


def test_result_of_another_study_is_refused_where_it_is_read(finished, tmp_path):
    """Somebody copies a file between studies while a run goes on; the job names it."""
    other = finished.copy(tmp_path / "other")
    weights = "zoo/trained/weights.safetensors"
    other.study["pretraining_recipes"]["upstream"]["lr"] = 0.06
    other.run(f"results/tiny/{weights}")
    run = "results/tiny/finetune/digits/full/trained/head/seed0/run.parquet"
    (finished.directory / run).unlink()
    # Snakemake reads the folder before it starts, so the copy comes in a job's own time: the
    # pretraining that the fine-tune does not need is what the swap hides behind.
    script = (
        "import shutil, sys\n"
        "from xferpipe.graph.rules import Rules\n"
        "write_plan = Rules.write_plan\n"
        "def swapped(self):\n"
        "    write_plan(self)\n"
        f"    shutil.copy({str(other.results / weights)!r}, {str(finished.results / weights)!r})\n"
        "Rules.write_plan = swapped\n"
        "from snakemake.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = finished.run_script(script, run)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"results/tiny/{weights} holds key" in output
    assert "pretrain trained" in output
    assert not (finished.directory / run).exists()


def test_two_studies_and_a_smoke_form_share_no_folder(finished):
    before = read_stamp(finished.results / "tables" / "selection.parquet")
    finished.study["smoke"] = {"finetunes": finished.study["finetunes"][:1]}
    smoke = finished.planned("--config", "smoke=true")
    assert len(smoke) == 24
    assert finished.planned() == set()
    finished.study["name"] = "another"
    assert len(finished.planned()) == 27
    finished.study["name"] = "tiny"
    assert read_stamp(finished.results / "tables" / "selection.parquet") == before


def test_runtime_of_a_model_that_is_gone_is_not_in_the_tables(finished):
    del finished.study["zoo"]["drawn"]
    finished.study["finetunes"] = finished.study["finetunes"][:2]
    finished.study["finetunes"][0]["models"] = ["trained"]
    assert finished.planned() == END
    finished.run("results/tiny/tables/runtime.parquet")
    runtime = read_table("runtime", finished.results / "tables" / "runtime.parquet")
    assert runtime.filter(polars.col("job").str.contains("drawn")).height == 0
    # generate, 3 manifests, 3 packs, pretraining, 2 features, 2 scores, 2 fine-tunes
    assert runtime.height == 15


def test_results_of_the_first_version_are_left_alone_with_one_message(
    tiny_study, tmp_path, new_workflow
):
    older = tmp_path / "results" / "tables" / "selection.parquet"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"of version 0.1")
    workflow = new_workflow(tmp_path, tiny_study)
    done = workflow.run("results/tiny/zoo/drawn/card.parquet")
    assert (done.stdout + done.stderr).count("results of xferpipe 0.1") == 1
    assert older.read_bytes() == b"of version 0.1"
    done = workflow.run("results/tiny/zoo/drawn/card.parquet")
    assert "xferpipe 0.1" not in done.stdout + done.stderr


@pytest.fixture
def photographs(tiny_study, tmp_path):
    """A study on a folder of images of the user's, named relative to the run, and its folder."""
    generator = numpy.random.default_rng(0)
    folder = tmp_path / "run" / "photographs"
    for split, count in (("train", 6), ("test", 3)):
        for label in "ab":
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (12, 12, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{split}{label}{i}.bmp")
    tiny_study["datasets"]["digits"] = {
        "reader": "image_folder",
        "root": "photographs",
        "image_px": 16,
    }
    return tiny_study, folder


PACKED = "results/tiny/pack/digits/images.npy"


def test_missing_folder_is_an_error_before_any_job_and_no_changed_key(photographs, new_workflow):
    study, folder = photographs
    workflow = new_workflow(folder.parent, study)
    workflow.run(PACKED)
    before = read_stamp(folder.parent / PACKED)
    folder.rename(folder.with_name("away"))
    done = workflow.run(PACKED, ok=False)
    output = done.stdout + done.stderr
    assert "datasets.digits.root" in output
    assert "photographs" in output
    assert "rule manifest" not in output
    folder.with_name("away").rename(folder)
    assert workflow.planned(PACKED) == set()
    assert read_stamp(folder.parent / PACKED) == before


def test_stray_note_and_a_moved_folder_run_nothing(photographs, new_workflow):
    study, folder = photographs
    workflow = new_workflow(folder.parent, study)
    workflow.run(PACKED)
    (folder / "notes.txt").write_text("taken in May")
    (folder / "train" / "a" / ".DS_Store").write_bytes(b"\0")
    assert workflow.planned(PACKED) == set()
    moved = folder.rename(folder.parent.parent / "elsewhere")
    study["datasets"]["digits"]["root"] = str(moved)
    assert workflow.planned(PACKED) == set()


def test_image_edited_between_plan_and_job_is_refused_and_not_packed(photographs, new_workflow):
    study, folder = photographs
    workflow = new_workflow(folder.parent, study)
    workflow.run("results/tiny/manifest/digits/manifest.parquet")
    image = folder / "train" / "a" / "traina0.bmp"
    edited = bytearray(image.read_bytes())
    edited[-1] ^= 0xFF
    script = (
        "import pathlib, sys\n"
        "from xferpipe.graph.rules import Rules\n"
        "write_plan = Rules.write_plan\n"
        "def edit(self):\n"
        "    write_plan(self)\n"
        f"    pathlib.Path({str(image)!r}).write_bytes({bytes(edited)!r})\n"
        "Rules.write_plan = edit\n"
        "from snakemake.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = workflow.run_script(script, PACKED)
    assert done.returncode != 0
    assert "a file of yours that it reads changed" in done.stdout + done.stderr
    assert not (folder.parent / PACKED).exists()


@pytest.mark.parametrize("missing", ["weights", "own_results"])
def test_missing_file_of_the_user_deletes_no_result(finished, missing):
    file = finished.directory / "mine"
    if missing == "weights":
        own = finished.results / "zoo" / "drawn" / "weights.safetensors"
        file = shutil.copy(own, finished.directory / "mine.safetensors")
        entry = dict(finished.study["zoo"]["drawn"], weights="file", name="mine.safetensors")
        finished.study["zoo"]["loaded"] = entry
        target = "results/tiny/zoo/loaded/weights.safetensors"
    else:
        file = finished.directory / "mine.csv"
        file.write_text("target,model,accuracy\ndigits,drawn,0.5\n")
        finished.study["selection"]["own_results"] = "mine.csv"
        target = "results/tiny/tables/selection.parquet"
    finished.run(target)
    os.rename(file, f"{file}.away")
    done = finished.run(target, ok=False)
    assert "mine." in done.stdout + done.stderr
    assert (finished.directory / target).exists()
    os.rename(f"{file}.away", file)
    assert finished.planned(target) == set()


def test_pinned_library_is_part_of_the_key_of_what_computes_with_it(finished, tmp_path):
    root = tmp_path / "checkout"
    for name in ("workflow", "profiles"):
        shutil.copytree(finished.root / name, root / name)
    for name in ("Snakefile", "requirements.lock", "config.yaml"):
        shutil.copy(finished.root / name, root)
    finished.root = root
    assert finished.planned() == set()
    lock = root / "requirements.lock"
    text = lock.read_text()
    lock.write_text(text.replace("polars==", "polars==99."))
    assert finished.planned() == END
    lock.write_text(text.replace("torchvision==", "torchvision==99."))
    assert len(finished.planned()) == 27
    lock.write_text(text.replace("snakemake==", "snakemake==99."))
    assert finished.planned() == set()
