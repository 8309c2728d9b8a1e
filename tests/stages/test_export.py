"""The picked model of a target as a folder, by the stages that the workflow runs."""

import json

import pytest
import torch

from xferpipe.config import load_study
from xferpipe.graph.stages import job_of
from xferpipe.handover.bundle import read_bundle
from xferpipe.handover.onnx_file import FILE
from xferpipe.handover.winner import winner
from xferpipe.records.stamp import Stamp, read_stamp, stamping
from xferpipe.stages.export import export
from xferpipe.stages.export_onnx import export_onnx
from xferpipe.zoo.weights import WeightsError

STAMP = Stamp("k" * 64, "export digits/full", "{}", "c", "{}")
TABLES = ("answers", "finetunes", "zoo", "targets")


def exported(workflow, folder):
    """Export the target digits as a job would; return the files by name."""
    study = load_study(workflow.study | {"export": {"targets": ["digits"]}})
    written = {"weights": "model.safetensors", "configuration": "config.json", "card": "README.md"}
    files = {name: folder / file for name, file in written.items()}
    with stamping(STAMP):
        export(
            job_of(study, "export", "digits", "full"),
            tables={name: workflow.results / "tables" / f"{name}.parquet" for name in TABLES},
            manifest=workflow.results / "manifest" / "digits" / "manifest.parquet",
            **files,
        )
    return files


def test_exported_files_carry_the_key_and_hold_the_picked_run(finished_run, tmp_path):
    files = exported(finished_run, tmp_path)
    assert {read_stamp(path) for path in files.values()} == {STAMP}
    bundle = read_bundle(tmp_path)
    won = winner(finished_run.results / "tables", "digits")
    assert bundle.about.key == read_stamp(won.weights).key
    assert bundle.about.model == won.run["model"]
    assert files["card"].read_text().startswith("# ")
    assert "xferpipe" in json.loads(files["configuration"].read_text())


def test_weights_of_another_job_than_their_run_are_refused(finished, tmp_path):
    import shutil

    won = winner(finished.results / "tables", "digits")
    others = [
        path for path in finished.results.glob("finetune/digits/**/weights.safetensors")
        if path != won.weights
    ]  # fmt: skip
    shutil.copy(others[0], won.weights)
    with pytest.raises(WeightsError, match="is not of the run beside it"):
        exported(finished, tmp_path)


def test_onnx_file_has_the_predictions_of_the_study(finished_run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    files = exported(finished_run, tmp_path)
    study = load_study(finished_run.study | {"export": {"targets": ["digits"], "onnx": True}})
    job = job_of(study, "export_onnx", "digits", "full")
    given = {name: files[name] for name in ("weights", "configuration")}
    export_onnx(job, **given, onnx=tmp_path / FILE)
    session = onnxruntime.InferenceSession(tmp_path / FILE, providers=["CPUExecutionProvider"])
    images = torch.randn((5, 3, 16, 16), generator=torch.Generator().manual_seed(3))
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = read_bundle(tmp_path).model(images)
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("raced", [("digits", "full")]),
        ("all", [("digits", "full"), ("vehicles", "full")]),
        ("none", []),
        (["vehicles"], [("vehicles", "full")]),
    ],
)
def test_study_says_which_targets_are_exported(tiny_study, targets, expected):
    tiny_study["choose"] = [{"targets": ["digits"], "budget": {"runs": 2}}]
    tiny_study["export"] = {"targets": targets}
    assert sorted(load_study(tiny_study).exported()) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [("cats", "'cats' is not defined; allowed: digits"), ("vehicles", "nothing is fine-tuned on")],
)
def test_export_of_what_is_not_there_is_an_error_of_the_study(tiny_study, name, words):
    from xferpipe.config.load import StudyError

    tiny_study["finetunes"] = [{"targets": ["digits"], "recipes": ["sgd"]}]
    tiny_study["export"] = {"targets": [name]}
    with pytest.raises(StudyError, match=words):
        load_study(tiny_study)


def test_every_candidate_architecture_is_in_the_key_of_an_export(tiny_study):
    from xferpipe.graph.entries import entries_of

    tiny_study["zoo"]["lite"] = {"architecture": "timm:test_resnet", "weights": "random"}
    tiny_study["export"] = {"targets": "all", "onnx": True}
    study = load_study(tiny_study)
    for stage in ("export", "export_onnx"):
        modules = entries_of(job_of(study, stage, "digits", "full"))
        assert modules == (
            "xferpipe.zoo.architectures.cifar_resnet",
            "xferpipe.zoo.architectures.timm_models",
        )
