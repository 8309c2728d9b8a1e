"""Faults on the real workflow: killed, out of space, not allowed to write, damaged, two at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy
import polars
import psutil
import pytest
from PIL import Image
from same_tables import differences

from xferpipe.records import empty, write_table
from xferpipe.records.stamp import read_stamp

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("faults")]

TABLES = Path("results", "tiny", "tables")
RUN = "finetune/digits/full/trained/sgd/seed0"


def hashes(folder):
    """Return every file of a folder with its content's hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def words(done):
    """Return all that a run said, the logs of its jobs included."""
    return done.stdout + done.stderr


@pytest.mark.slow
def test_rounds_of_kills_and_changed_values_leave_no_row_of_another_study(tmp_path):
    output = tmp_path / "rounds.json"
    script = Path(__file__).with_name("kill_rounds.py")
    options = [
        "--rounds",
        "3",
        "--changes",
        "1",
        "--seed",
        str(time.time_ns()),
        "--output",
        str(output),
    ]
    done = subprocess.run(
        [sys.executable, str(script), *options],
        text=True,
        capture_output=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, words(done)
    rounds = json.loads(output.read_text())["rounds"]
    assert [result["victim"] for result in rounds] == ["snakemake", "job", "everything"]
    for result in rounds:
        assert (result["differences"], result["jobs_planned_after"]) == ({}, 0)


def test_table_on_a_full_disk_fails_in_words_and_leaves_nothing(small_disk, tmp_path):
    disk = small_disk(tmp_path / "disk", "16k")
    write_table("scores", empty("scores"), disk.path / "first.parquet")
    before = hashes(disk.path)
    noise = numpy.random.default_rng(0).random(20_000)
    rows = polars.DataFrame({"value": noise})
    rows = polars.concat([empty("scores"), rows], how="diagonal")
    with pytest.raises(OSError, match="No space left on device"):
        write_table("scores", rows, disk.path / "second.parquet")
    assert hashes(disk.path) == before


@pytest.mark.slow
def test_full_disk_stops_the_study_in_words_and_room_lets_it_finish(finished, small_disk, tmp_path):
    study = replace(finished, directory=tmp_path / "small")
    disk = small_disk(study.directory / "results", "200k")
    target = "results/tiny/zoo/trained/weights.safetensors"
    stopped = study.run(target, ok=False)
    assert "No space left on device" in words(stopped)
    assert not (study.directory / target).exists()
    assert not list(disk.path.rglob("*.partial"))
    disk.remount("size=64m")
    study.run(target)
    assert (study.directory / target).read_bytes() == (finished.directory / target).read_bytes()


@pytest.mark.slow
def test_read_only_results_stop_the_study_in_words_and_stay_as_they_are(
    finished, small_disk, tmp_path
):
    results = finished.directory / "results"
    kept = tmp_path / "kept"
    shutil.move(results, kept)
    disk = small_disk(results, "64m")
    shutil.copytree(kept, results, dirs_exist_ok=True, symlinks=True)
    before = hashes(results)
    disk.remount("ro")
    finished.study["selection"]["confidence"] = 0.8
    stopped = finished.run(ok=False)
    assert "results/tiny: the plan of the run cannot be written there" in words(stopped)
    assert "Read-only file system" in words(stopped)
    assert hashes(results) == before
    disk.remount("rw")
    finished.run()
    assert finished.planned() == set()


@pytest.fixture(scope="module")
def interrupted(finished_run, tmp_path_factory):
    """A finished study whose one fine-tune is gone and was killed half-way, with its checkpoint."""
    study = finished_run.copy(tmp_path_factory.mktemp("interrupted") / "study")
    shutil.rmtree(study.results / RUN)
    checkpoint = study.results / "checkpoints" / f"{RUN}.pt"
    variables = {**study.variables(), "XFERPIPE_CHECKPOINT_SECONDS": "0"}
    run = subprocess.Popen(
        study.command(f"results/tiny/{RUN}/run.parquet"),
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not checkpoint.exists():
            assert run.poll() is None, "the run ended without a checkpoint"
            time.sleep(0.005)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert not (study.results / RUN / "run.parquet").exists()
    subprocess.run(study.command("--unlock"), env=variables, check=True, capture_output=True)
    return study


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    """Flip one bit of every weight's tensor data, which sits in the middle of the file."""
    damaged = bytearray(content)
    for place in range(len(content) // 4, 3 * len(content) // 4, 997):
        damaged[place] ^= 0x10
    return bytes(damaged)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "said"),
    [(None, "resuming from it"), (cut, "starting afresh"), (flipped, "starting afresh")],
    ids=["whole", "cut", "flipped"],
)
def test_fine_tune_after_a_kill_ends_as_an_undisturbed_one(
    interrupted, finished_run, tmp_path, damage, said
):
    study = interrupted.copy(tmp_path / "study")
    checkpoint = study.results / "checkpoints" / f"{RUN}.pt"
    if damage is not None:
        checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    study.run()
    assert differences(finished_run.directory / TABLES, study.directory / TABLES) == {}
    weights = Path("results", "tiny", RUN, "weights.safetensors")
    expected, found = ((s.directory / weights).read_bytes() for s in (finished_run, study))
    assert expected == found
    assert said in (study.results / "logs" / f"{RUN}.log").read_text()
    assert not checkpoint.exists()


@pytest.mark.slow
def test_checkpoint_is_of_no_use_after_its_upstream_changed(interrupted, finished_run, tmp_path):
    """The fine-tune's own slice is as it was; the weights that it starts from are not."""
    target = f"results/tiny/{RUN}/weights.safetensors"
    study, clean = interrupted.copy(tmp_path / "study"), finished_run.copy(tmp_path / "clean")
    for changed in (study, clean):
        changed.study["pretraining_recipes"]["upstream"]["epochs"] = 3
        changed.run(target)
    log = (study.results / "logs" / f"{RUN}.log").read_text()
    assert "starting afresh" in log
    assert "resuming" not in log
    expected, found = ((s.directory / target).read_bytes() for s in (clean, study))
    assert expected == found
    assert expected != (finished_run.directory / target).read_bytes()


@pytest.mark.slow
def test_orphan_of_a_killed_snakemake_overwrites_nothing(finished, tmp_path):
    """Snakemake alone is killed; its fine-tune goes on and ends after that of the next run."""
    recipe = finished.study["finetuning_recipes"]["sgd"]
    run = finished.results / RUN / "run.parquet"
    recipe["epochs"] = 400
    first = subprocess.Popen(
        finished.command(str(run.relative_to(finished.directory))),
        env=finished.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    owners = finished.results / ".xferpipe" / "owners"
    deadline = time.monotonic() + 60
    while not list(owners.glob("finetune-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (orphan,) = psutil.Process(first.pid).children(recursive=True)[-1:]
    first.kill()
    first.wait()
    subprocess.run(finished.command("--unlock"), check=True, capture_output=True)
    recipe["epochs"] = 1
    finished.run(str(run.relative_to(finished.directory)))
    assert orphan.is_running(), "the orphan was over too early to show anything"
    psutil.wait_procs([orphan], timeout=120)
    assert not orphan.is_running()
    row = polars.read_parquet(run)
    assert row["epochs"].item() == 1
    assert read_stamp(run).slice.count('"epochs":1,')
    assert finished.planned(str(run.relative_to(finished.directory))) == set()
    assert not list(finished.results.rglob(".unfinished-*"))


@pytest.mark.slow
def test_second_snakemake_on_the_same_results_is_refused_and_the_first_finishes(
    finished, finished_run
):
    shutil.rmtree(finished.results / "finetune")
    first = subprocess.Popen(
        finished.command(),
        env=finished.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        locks = finished.directory / ".snakemake" / "locks"
        while not (locks.exists() and list(locks.iterdir())):
            assert first.poll() is None
            time.sleep(0.05)
        second = finished.run(ok=False)
        assert "cannot be locked" in words(second)
        assert first.wait(600) == 0
    finally:
        if first.poll() is None:
            for child in psutil.Process(first.pid).children(recursive=True):
                child.kill()
            first.kill()
            first.wait()
    assert differences(finished_run.directory / TABLES, finished.directory / TABLES) == {}


@pytest.fixture
def photographs(tiny_study, tmp_path):
    """A study on a folder of images that the test may change."""
    generator = numpy.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for label in "ab":
            folder = tmp_path / "photographs" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (12, 12, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / f"{split}{label}{i}.bmp")
    tiny_study["datasets"]["digits"] = {
        "reader": "image_folder",
        "root": str(tmp_path / "photographs"),
        "image_px": 16,
    }
    return tiny_study


def test_changed_image_is_seen_by_its_content_and_a_new_date_alone_is_not(
    finished_run, photographs, tmp_path
):
    study = replace(finished_run, directory=tmp_path / "study", study=photographs)
    target = "results/tiny/pack/digits/images.npy"
    study.run(target)
    image = tmp_path / "photographs" / "train" / "a" / "traina0.bmp"
    assert study.planned(target) == set()
    os.utime(image)
    assert study.planned(target) == set(), "a touched file is no other data"
    before = image.stat()
    content = bytearray(image.read_bytes())
    content[-1] ^= 0xFF
    image.write_bytes(content)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_size == before.st_size
    assert study.planned(target) == {"manifest digits", "pack digits"}
