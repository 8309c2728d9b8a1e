"""Records of the stages that hand over the model which the answer picks."""

from __future__ import annotations

from xferpipe.config import jobs
from xferpipe.config.study import Study, parse_shots
from xferpipe.graph.stage import MODELS, SIDECAR, Artifact, Needs, Stage


class Export(Stage):
    """Export the picked model of a target: weights, configuration and card."""

    name = "export"
    does = "export the model picked for {target}: {shots}"
    place = "{target}/{shots}"
    outputs = {
        "weights": "model.safetensors",
        "configuration": "config.json",
        "card": "README.md",
    }
    reads = ("answers", "finetunes", "zoo", "targets", "manifest")
    libraries = (*MODELS, "polars")
    kept = ("weights", "configuration", "card")
    follows_races = True
    memory_mb, minutes = 2000, 10

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return study.exported()

    def job(self, study: Study, target: str, shots: str) -> jobs.ExportJob:
        return jobs.ExportJob(
            target=target, shots=parse_shots(shots), architectures=architectures(study)
        )

    def needs(self, study: Study, target: str, shots: str) -> Needs:
        dataset = study.targets[target].dataset
        tables = ("answers", "finetunes", "zoo", "targets")
        return {
            "tables": {name: Artifact("aggregate", (), name) for name in tables},
            "manifest": Artifact("manifest", (dataset,), "manifest"),
        }

    def opens(self, study: Study, *place: str) -> list[Artifact]:
        # As inputs, weights that `prune` removed would be trained again.
        runs = [run for run in study.runs() if run[:2] == place]
        return [Artifact("finetune", run, "weights") for run in runs]


class ExportOnnx(Stage):
    """Write an exported model as ONNX, checked for equal outputs."""

    name = "export_onnx"
    does = "write the model of {target} as ONNX: {shots}"
    place = "{target}/{shots}"
    folder = "export"
    outputs = {"onnx": "model.onnx", SIDECAR: "model.onnx.json"}
    # Of the modules that write what it reads.
    reads = Export.reads
    libraries = (*Export.libraries, "onnx", "onnxruntime", "onnxscript")
    kept = ("onnx",)
    follows_races = True
    memory_mb, minutes = 4000, 10

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return study.exported() if study.export.onnx else []

    def job(self, study: Study, target: str, shots: str) -> jobs.ExportOnnxJob:
        return jobs.ExportOnnxJob(architectures=architectures(study))

    def needs(self, study: Study, *place: str) -> Needs:
        return {name: Artifact("export", place, name) for name in ("weights", "configuration")}


def architectures(study: Study) -> tuple[str, ...]:
    """Return the architectures of the study's models, each once."""
    return tuple(dict.fromkeys(entry.architecture for entry in study.zoo.values()))
