"""`xferpipe run`: from a folder of images to a model in use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import polars
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsClassifier
from terminal import in_terminal

from xferpipe.cli import DONE, WRONG_INPUT, main

ROOT = Path(__file__).resolve().parents[2]


def write_photos(folder, count=14, seed=0):
    """Write two classes that anything can tell apart: stripes across and stripes down."""
    random = numpy.random.default_rng(seed)
    for name, axis in (("across", 0), ("down", 1)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            stripes = (numpy.arange(24) + random.integers(6)) % 6 < 3
            pixels = numpy.where(stripes, 210, 40) + random.integers(-30, 30, (24, 24))
            pixels = pixels.T if axis == 0 else pixels
            image = numpy.repeat(pixels[..., None], 3, axis=2).clip(0, 255).astype("uint8")
            Image.fromarray(image).save(folder / name / f"{seed}_{i}.png")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own with photographs, outside of any clone; its name has a space."""
    folder = tmp_path / "my work"
    write_photos(folder / "my photos")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    return folder


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command; return its exit code, output, messages, and what it became, if anything."""
    became = []

    def instead(program, words):
        became.append(words)
        raise SystemExit(DONE)

    monkeypatch.setattr(os, "execv", instead)

    def call(*words):
        became.clear()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        told = capsys.readouterr()
        return left.value.code, told.out, told.err, became[-1] if became else None

    return call


SMALL = ("--models", "small")


def test_run_writes_a_race_and_becomes_snakemake_with_the_workflow_of_this_installation(run, here):
    # A Snakefile of another project must not be taken for ours.
    (here / "Snakefile").write_text("rule all: shell: 'false'\n")
    code, out, _, became = run("run", "my photos", *SMALL, "--budget", "5m", "--cores", 2)
    assert code == DONE
    study = yaml.safe_load((here / "my_photos.yaml").read_text())
    assert study["datasets"]["my_photos"]["root"] == "my photos"
    assert study["choose"] == [{"budget": {"minutes": 5}, "seeds": 3}]
    assert "a race of at most 5 min of fine-tuning, among 45 fine-tunes" in out
    assert became[:3] == [sys.executable, "-P", "-c"]
    assert became[4:] == [
        *("--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(ROOT / "profiles" / "default")),
        *("--cores", "2", "--configfile", "my_photos.yaml"),
    ]


def test_reidentification_set_is_raced_for_retrieval_without_being_told(run, here):
    from xferpipe.config import load_study
    from xferpipe.config.datasets import GeneratedVehicles, Veri776
    from xferpipe.config.jobs import GenerateJob
    from xferpipe.stages.generate import generate

    drawn = GeneratedVehicles(train_identities=4, test_identities=3, cameras=2)
    generate(GenerateJob(dataset=Veri776(generate=drawn), seed=0), root=here / "cars")
    code, out, err, became = run("run", "cars", *SMALL, "--budget", "4")
    assert code == DONE, err
    assert became[-2:] == ["--configfile", "cars.yaml"]
    study = load_study(here / "cars.yaml")
    ((place, race),) = study.races().items()
    assert study.targets["cars"].task == "retrieval"
    assert (place, race.recipes) == (("cars", "full"), ("identities", "identities_gentle"))
    assert study.exported() == [place]
    assert "identities 4" in out


def test_second_run_goes_on_with_the_study_as_it_was_edited(run, here):
    run("run", "my photos", *SMALL)
    path = here / "my_photos.yaml"
    path.write_text(path.read_text().replace("minutes: 30", "minutes: 7"))
    edited = path.read_text()
    code, _, _, became = run("run", "my photos")
    assert (code, became[-2:]) == (DONE, ["--configfile", "my_photos.yaml"])
    same = ("--models", "small", "--budget", "7m", "--recipes", "head,gentle,strong")
    assert run("run", "my photos", *same, "--task", "classification")[0] == DONE
    assert path.read_text() == edited


@pytest.mark.parametrize(
    ("words", "key", "held", "asked"),
    [
        (("--budget", "9"), "choose.0.budget", "{'minutes': 30.0}", "{'runs': 9}"),
        (("--budget", "all"), "choose.0.budget", "{'minutes': 30.0}", "all"),
        (("--models", "small,resnet18"), "zoo", "resnet8_digits", "resnet18, resnet8_digits"),
        (("--recipes", "head"), "finetuning_recipes", "gentle, head, strong", "head"),
        (("--image-px", "64"), "datasets.my_photos.image_px", "32", "64"),
        (("--task", "retrieval"), "targets.my_photos.task", "classification", "retrieval"),
        (("--name", "cats", "--study", "my_photos.yaml"), "name", "my_photos", "cats"),
    ],
)
def test_option_that_the_study_says_otherwise_names_the_key_to_edit(
    run, here, words, key, held, asked
):
    run("run", "my photos", *SMALL)
    code, _, err, became = run("run", "my photos", *words)
    assert (code, became) == (WRONG_INPUT, None)
    assert f"my_photos.yaml is there already and has {key}: {held}" in err
    assert f"{words[0]} asks for {asked}" in err
    assert f"Edit {key} in my_photos.yaml" in err


def test_study_of_other_images_is_not_taken(run, here):
    run("run", "my photos", *SMALL)
    write_photos(here / "others")
    code, _, err, became = run("run", "others", "--study", "my_photos.yaml")
    assert (code, became) == (WRONG_INPUT, None)
    assert "has datasets.my_photos.root: my photos, but the folder asks for others" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere",), "nowhere: no such folder or table"),
        (("my photos", "--models", "resnet51"), "did you mean"),
        (("my photos", *SMALL, "--budget", "soon"), "'soon' is no budget"),
        (("my photos", *SMALL, "--recipes", "mine"), "'mine' is unknown"),
        (("my photos", *SMALL, "--task", "retrieval"), "drawing query and gallery takes"),
    ],
)
def test_wrong_input_is_one_message_and_no_study(run, here, words, says):
    code, _, err, became = run("run", *words)
    assert (code, became) == (WRONG_INPUT, None)
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert not list(here.glob("*.yaml"))


@pytest.mark.workflow
def test_dry_run_plans_and_writes_nothing(here):
    words = ("run", "my photos", "--models", "small", "--dry-run", "--cores", "1")
    done = subprocess.run(command(*words), cwd=here, text=True, capture_output=True, check=False)
    assert done.returncode == DONE, done.stderr
    assert re.search(r"^pretrain +4 ", done.stdout, re.M)
    assert "race on my_photos: all images: round 0 is open" in done.stdout
    assert [path.name for path in here.iterdir() if path.name[0] != "."] == ["my photos"]


def command(*words):
    return [sys.executable, "-c", "from xferpipe.cli import main; main()", *words]


def call(*words, cwd, shell=False):
    done = subprocess.run(words[0] if shell else command(*words), shell=shell, cwd=cwd, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.workflow
def test_ctrl_c_before_any_job_ends_in_words(here):
    """The word that is on the screen when it is pressed stands before the first job."""
    code = "import sys; from xferpipe.cli import main; main(sys.argv[1:])"
    words = ("run", "my photos", "--models", "small", "--cores", "1")
    left, _, screen = in_terminal(code, *words, interrupt_at="jobs, into results", seconds=300)
    assert left not in (DONE, None)
    assert "Traceback" not in screen


@pytest.fixture
def drawn(here):
    """Words for two models with drawn weights: pretraining the small ones takes minutes."""
    from xferpipe.config.jobs import ModelSpec
    from xferpipe.config.zoo import ZooEntry
    from xferpipe.zoo.build import build_model
    from xferpipe.zoo.weights import save_weights

    for seed in (0, 1):
        entry = ZooEntry(architecture="cifar_resnet8", weights="random")
        model = build_model(ModelSpec.of(entry), 3, seed=seed)
        save_weights(model, here / f"drawn{seed}.safetensors")
    return [f"drawn{seed}.safetensors@cifar_resnet8" for seed in (0, 1)]


@pytest.mark.slow
@pytest.mark.workflow
def test_folder_becomes_a_model_that_votes_and_is_a_zoo_entry_again(here, drawn):
    asked = ("--models", drawn[0], "--image-px", "24", "--recipes", "knn", "--budget", "1")
    told = call("run", "my photos", *asked, "--cores", "2", cwd=here)
    assert re.search(r"^my_photos: .* drawn0 with recipe knn: test accuracy", told, re.M)
    folder = "results/my_photos/export/my_photos/full"
    write_photos(here / "new ones", count=10, seed=5)
    output = ("--output", "found.parquet", "--device", "cpu")
    call("predict", folder, "new ones", *output, cwd=here)
    found = polars.read_parquet(here / "found.parquet")
    # The same vote by scikit-learn, of what the exported file remembers.
    held = load_file(here / folder / "model.safetensors")
    count = min(20, len(held["fc.labels"]))
    votes = KNeighborsClassifier(
        count, metric="cosine", weights=lambda d: numpy.exp((1 - d) / 0.07)
    ).fit(held["fc.features"].numpy(), held["fc.labels"].numpy())
    call("features", "new ones", "features.parquet", "--model", folder, cwd=here)
    described = polars.read_parquet(here / "features.parquet")
    paths = described.select(path="new ones/" + polars.col("path"))
    found = paths.join(found, on="path", maintain_order="left")
    features = numpy.stack(described["feature"])
    expected = votes.predict_proba(features)
    assert numpy.stack(found["probabilities"]) == pytest.approx(expected, abs=1e-4)
    assert found["predicted"].to_list() == [("across", "down")[i] for i in expected.argmax(1)]
    again = ("--models", folder, "--image-px", "24", "--recipes", "head", "--name", "again")
    call(
        "init", "again.yaml", "--images", "my photos", "--task", "classification", *again, cwd=here
    )
    call("plan", "--configfile", "again.yaml", cwd=here)


@pytest.mark.slow
@pytest.mark.workflow
def test_folder_becomes_a_model_in_use(here, drawn):
    models = ",".join(drawn)
    asked = ("--models", models, "--image-px", "24", "--recipes", "head,strong")
    told = call("run", "my photos", *asked, "--budget", "3", "--cores", "2", cwd=here)
    lines = told.splitlines()
    assert "written    my_photos.yaml" in lines
    assert re.search(
        r"^my_photos: .* drawn[01] with recipe (head|strong): test accuracy", told, re.M
    )
    assert "Report: results/my_photos/report.html" in lines
    assert (here / "results/my_photos/report.html").is_file()
    (use,) = [line for line in lines if line.startswith("Use it: ")]
    folder = "results/my_photos/export/my_photos/full"
    assert re.fullmatch(rf"Use it: \S*xferpipe predict {folder} PHOTOS", use)
    write_photos(here / "new ones", count=10, seed=5)
    output = ("--output", "found.parquet", "--device", "cpu")
    call("predict", folder, "new ones", *output, cwd=here)
    found = polars.read_parquet(here / "found.parquet")
    assert found.height == 20
    assert set(found["predicted"]) <= {"across", "down"}
    again = call("run", "my photos", cwd=here)
    assert "nothing to do" in again.lower()
    assert use in again


@pytest.mark.slow
@pytest.mark.workflow
def test_commands_that_init_prints_work_as_printed_outside_a_clone(here, tmp_path):
    """In a shell, in the folder where they were printed, whatever is in the folders' names."""
    from xferpipe.console.words import program

    init = ("init", "a study.yaml", "--images", "my photos", "--task", "classification")
    told = call(*init, "--models", "small", "--budget", "2", cwd=here)
    plan, run = [line.strip() for line in told.partition("Next:")[2].strip().splitlines()]
    assert "'a study.yaml'" in plan
    assert "'my photos'" in run
    assert program("xferpipe") in plan
    assert "Nothing to do" not in call(plan, cwd=here, shell=True)
    assert "pretrain" in call(f"{run} --dry-run", cwd=here, shell=True)
    header = (here / "a study.yaml").read_text()
    (by_snakemake,) = re.findall(r"^# +(snakemake .*snakefile\)\")", header, re.M)
    scripts = str(Path(sys.executable).parent)
    call(f"PATH='{scripts}':$PATH; {by_snakemake} --dry-run --quiet all", cwd=here, shell=True)
