"""What runs again after a change, and nothing else: the real workflow on the tiny study."""

import json
import os
import shutil

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

END = {"aggregate", "report", "figures"}
TRAINED_RUNS = {"finetune digits/full/trained/sgd/0", "finetune digits/full/trained/head/0"}
FINETUNES = {
    *TRAINED_RUNS,
    "finetune digits/full/drawn/sgd/0",
    "finetune vehicles/full/drawn/sgd/0",
}
#: A retrieval target chooses its epoch by the ranking of held-out identities.
RETRIEVAL = {"finetune vehicles/full/drawn/sgd/0", "retrieval vehicles/full/drawn/sgd/0"}


def pairs(stage, *targets, models=("trained", "drawn")):
    return {f"{stage} {target}/full/{model}" for target in targets for model in models}


SCORES = pairs("scores", "digits", "vehicles")
FEATURES = pairs("features", "digits", "vehicles")


def test_second_run_has_nothing_to_do(finished):
    assert finished.planned() == set()


def test_deleted_features_and_fine_tuned_weights_run_nothing_again(finished):
    """docs/scale.md says so to those whose disk is full."""
    results = finished.results
    deleted = [
        *(results / "finetune").rglob("weights.safetensors"),
        *(results / "features").rglob("features.safetensors"),
    ]
    assert len(deleted) > 5
    for file in deleted:
        file.unlink()
    assert finished.planned() == set()


def test_switch_to_conda_runs_nothing_again(finished, tmp_path):
    # Planning asks conda for its version and settings only; nothing is built.
    conda = tmp_path / "bin" / "conda"
    conda.parent.mkdir()
    answer = {
        "conda_version": "25.1.0",
        "conda_prefix": "/opt",
        "platform": "linux-64",
        "get": {"channel_priority": "strict"},
    }
    conda.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    conda.chmod(0o755)
    finished.environment["PATH"] = f"{conda.parent}:{os.environ['PATH']}"
    assert finished.planned("--software-deployment-method", "conda") == set()


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            ("finetuning_recipes", "head", "lr"),
            0.06,
            {"finetune digits/full/trained/head/0"} | END,
        ),
        (("scores", "methods"), ["lfc", "knn"], SCORES | END),
        (("probe", "images_per_class"), 4, FEATURES | SCORES | END),
        (
            ("pretraining_recipes", "upstream", "lr"),
            0.06,
            {"pretrain trained", "cost trained"}
            | pairs("features", "digits", "vehicles", models=["trained"])
            | pairs("scores", "digits", "vehicles", models=["trained"])
            | TRAINED_RUNS
            | END,
        ),
        (
            ("datasets", "digits", "maximum_images_per_class"),
            35,
            {"manifest digits", "pack digits"}
            | pairs("features", "digits")
            | pairs("scores", "digits")
            | TRAINED_RUNS
            | {"finetune digits/full/drawn/sgd/0"}
            | END,
        ),
        (("retrieval", "distance"), "cosine", RETRIEVAL | END),
        (("selection", "confidence"), 0.9, END),
        (("datasets", "digits", "licence"), "CC BY 4.0", END),
        (("zoo", "drawn", "licence"), "none", {"aggregate"} | END),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_changed_value_runs_what_reads_it(finished, path, value, expected):
    place = finished.study
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert finished.planned() == expected


def test_added_model_runs_its_own_jobs_only(finished):
    finished.study["zoo"]["second"] = dict(finished.study["zoo"]["drawn"], width=8)
    assert finished.planned() == (
        {"load_weights second", "cost second", "finetune digits/full/second/sgd/0"}
        | pairs("features", "digits", "vehicles", models=["second"])
        | pairs("scores", "digits", "vehicles", models=["second"])
        | END
    )


def test_added_target_runs_its_own_jobs_only(finished):
    finished.study["targets"]["others"] = {"dataset": "source"}
    finished.study["finetunes"].append(
        {"targets": ["others"], "models": ["drawn"], "recipes": ["sgd"]}
    )
    assert finished.planned() == (
        {"finetune others/full/drawn/sgd/0"}
        | pairs("features", "others")
        | pairs("scores", "others")
        | END
    )


def test_added_seed_runs_its_own_fine_tunes_only(finished):
    finished.study["finetunes"][1]["seeds"] = [0, 7]
    assert finished.planned() == {"finetune digits/full/trained/head/7"} | END


def test_added_score_runs_no_model(finished):
    finished.study["scores"]["methods"].append("linear_probe")
    assert finished.planned() == SCORES | END


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        ("stages/finetune.py", '"""', '"""Words. '),
        ("training/loop.py", "\nfrom ", "\n# A remark.\nfrom "),
        ("config/study.py", "Seed of everything", "The seed of all"),
        ("records/schemas.py", "Position, 0-based", "The position, from 0"),
    ],
    ids=["docstring", "comment", "help text", "meaning of a column"],
)
def test_changed_words_in_the_source_run_nothing(finished, tmp_path, module, before, after):
    source = finished.copy_source(tmp_path / "copy")
    text = (source / module).read_text()
    assert before in text
    (source / module).write_text(text.replace(before, after, 1))
    assert finished.planned() == set()


def test_added_log_line_runs_nothing(finished, tmp_path):
    source = finished.copy_source(tmp_path / "copy")
    with (source / "zoo" / "build.py").open("a") as file:
        file.write("\nimport logging\nlogging.getLogger('xferpipe').info('built')\n")
    text = (source / "zoo" / "build.py").read_text()
    (source / "zoo" / "build.py").write_text(text.replace("\nimport logging\n", "\n"))
    assert finished.planned() == set()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("stages/finetune.py", FINETUNES | RETRIEVAL | END),
        ("stages/scores.py", SCORES | END),
        ("datasets/readers/veri776.py", None),
    ],
)
def test_changed_code_runs_the_stages_that_compute_with_it(finished, tmp_path, module, expected):
    source = finished.copy_source(tmp_path / "copy")
    with (source / module).open("a") as file:
        file.write("\nADDED = 1\n")
    planned = finished.planned()
    if expected is None:
        vehicles = {"generate vehicles", "manifest vehicles", "pack vehicles"}
        vehicles |= pairs("features", "vehicles") | pairs("scores", "vehicles")
        expected = vehicles | {"finetune vehicles/full/drawn/sgd/0"} | RETRIEVAL | END
    assert planned == expected


def test_changed_kernel_runs_what_calls_kernels(finished, tmp_path):
    source = finished.copy_source(tmp_path / "copy")
    kernel = next((source.parent.parent / "csrc").rglob("*.cpp"))
    kernel.write_text(kernel.read_text() + "\nint changed;\n")
    planned = finished.planned()
    assert planned == SCORES | RETRIEVAL | END


def test_touched_script_runs_nothing(finished):
    # The scripts' own code is not computed with; Snakemake's `code` trigger is off.
    assert "code" not in (finished.run("--dry-run").stdout)


def test_frozen_keys_ignore_code_and_follow_values(finished, tmp_path):
    finished.study["code_key"] = "manual"
    run = "results/tiny/finetune/digits/full/trained/head/seed0/run.parquet"
    finished.run(run)
    source = finished.copy_source(tmp_path / "copy")
    with (source / "stages" / "finetune.py").open("a") as file:
        file.write("\nADDED = 1\n")
    assert finished.planned(run) == set()
    finished.study["finetuning_recipes"]["head"]["lr"] = 0.06
    assert finished.planned(run) == {"finetune digits/full/trained/head/0"}


def test_failed_middle_job_is_never_taken_for_done(finished):
    """The stale-result trap: a job fails after its params changed, the results below stay."""
    finished.study["finetuning_recipes"]["head"]["lr"] = 0.06
    run = finished.directory / "results/tiny/finetune/digits/full/trained/head/seed0"
    pack = finished.directory / "results/tiny/pack/digits/images.npy"
    whole = pack.read_bytes()
    times = pack.stat()
    pack.write_bytes(whole[:200])
    os.utime(pack, ns=(times.st_atime_ns, times.st_mtime_ns))
    finished.run(ok=False)
    assert not (run / "run.parquet").exists()
    pack.write_bytes(whole)
    os.utime(pack, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert finished.planned() == {"finetune digits/full/trained/head/0"} | END
    shutil.rmtree(finished.directory / ".snakemake" / "incomplete", ignore_errors=True)
    assert finished.planned() >= END
