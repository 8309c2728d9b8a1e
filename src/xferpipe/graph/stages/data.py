"""Records of the stages that make a data set: from files or a generator to one array."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config import jobs
from xferpipe.config.datasets import Dataset
from xferpipe.config.study import Study
from xferpipe.graph.stage import SIDECAR, Artifact, Needs, Stage
from xferpipe.graph.stages.parts import block, own_files, ranked, root


class Generate(Stage):
    """Write a generated re-identification set in its layout."""

    name = "generate"
    does = "draw the images of {dataset}"
    place = "{dataset}"
    outputs = {"root": ""}
    memory_mb, minutes = 1000, 10

    def job(self, study: Study, dataset: str) -> jobs.GenerateJob:
        return jobs.GenerateJob(dataset=block(study, dataset), seed=study.seed)


class Manifest(Stage):
    """List a data set: one row an image, checked."""

    name = "manifest"
    does = "list and check the images of {dataset}"
    place = "{dataset}"
    outputs = {"manifest": "manifest.parquet", "findings": "image_findings.parquet"}
    reads = ("manifest", "image_findings")
    memory_mb, minutes = 2000, 30

    def job(self, study: Study, dataset: str) -> jobs.ManifestJob:
        return jobs.ManifestJob(
            name=dataset,
            dataset=block(study, dataset),
            seed=study.seed,
            ranked=ranked(study, dataset),
        )

    def needs(self, study: Study, dataset: str) -> Needs:
        return {"root": root(study, dataset)}

    def user_files(self, study: Study, dataset: str) -> list[Dataset | Path]:
        return own_files(study, dataset)


class Pack(Stage):
    """Decode a data set's images once."""

    name = "pack"
    does = "decode the images of {dataset}"
    place = "{dataset}"
    outputs = {"images": "images.npy", SIDECAR: "images.npy.json"}
    reads = ("manifest",)
    minutes = 120

    def job(self, study: Study, dataset: str) -> jobs.PackJob:
        return jobs.PackJob(dataset=block(study, dataset), seed=study.seed)

    def needs(self, study: Study, dataset: str) -> Needs:
        manifest = Artifact("manifest", (dataset,), "manifest")
        return {"manifest": manifest, "root": root(study, dataset)}

    def user_files(self, study: Study, dataset: str) -> list[Dataset | Path]:
        return own_files(study, dataset)
