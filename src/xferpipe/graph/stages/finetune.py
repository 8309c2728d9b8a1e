"""Records of the stages that fine-tune, and that rank with what was fine-tuned."""

from __future__ import annotations

from xferpipe.config import jobs
from xferpipe.config.report import FeaturesTaken
from xferpipe.config.study import Run, Study, parse_shots
from xferpipe.graph.stage import Artifact, Needs
from xferpipe.graph.stages.parts import (
    RUN,
    FinetunedStage,
    ImageStage,
    entry,
    ranked,
    tuned,
    tuning,
)


class Finetune(ImageStage):
    """Fine-tune one model on one target with one recipe and seed, and evaluate it."""

    name = "finetune"
    does = "fine-tune {model} on {target}: {shots}, {recipe}, seed {seed}"
    place = RUN
    outputs = {
        "weights": "weights.safetensors",
        "run": "run.parquet",
        "epochs": "epochs.parquet",
        "predictions": "predictions.parquet",
        "class_recalls": "class_recalls.parquet",
        "validation_queries": "validation_queries.parquet",
        "feature_correlation": "feature_correlation.parquet",
    }
    tables = {
        "run": "finetunes",
        "epochs": "epochs",
        "predictions": "predictions",
        "class_recalls": "class_recalls",
        "validation_queries": "validation_queries",
        "feature_correlation": "feature_correlation",
    }
    kept = ("run",)
    timed = "run"
    trains = True
    memory_mb, minutes = 8000, 720

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return study.runs()

    def job(
        self, study: Study, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> jobs.FinetuneJob:
        taken, asked_for = None, ranked(study, study.targets[target].dataset)
        is_ranked = study.targets[target].task == "retrieval"
        if study.takes_features(Run(target, shots, model, recipe, seed)):
            asked = study.report.feature_correlation
            taken = FeaturesTaken(epochs=asked.epochs, images=asked.images, probe=study.probe)
        return jobs.FinetuneJob(
            **tuning(study, target, model, recipe, seed),
            target=tuned(study, target, shots),
            shots=parse_shots(shots),
            ranking=study.retrieval.plain() if is_ranked else None,
            ranked=asked_for if is_ranked else None,
            features_taken=taken,
        )

    def needs(
        self, study: Study, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> Needs:
        return {**super().needs(study, target), "initial": entry(study, model)}

    def rows(self, study: Study) -> dict[str, list[Artifact]]:
        found = super().rows(study)
        # Of the other runs the file is empty.
        found["feature_correlation"] = [
            Artifact(self.name, run, "feature_correlation")
            for run in self.jobs(study)
            if study.takes_features(run)
        ]
        return found


class Retrieval(FinetunedStage):
    """Embed query and gallery with one fine-tuned model and rank."""

    name = "retrieval"
    does = "rank the gallery with {model} on {target}: {shots}, {recipe}, seed {seed}"
    outputs = {
        "retrieval": "retrieval.parquet",
        "queries": "queries.parquet",
        "ranked_lists": "ranked_lists.parquet",
        "camera_pairs": "camera_pairs.parquet",
        "query_features": "query_features.parquet",
        "gallery_features": "gallery_features.parquet",
        # Last, as in the rule: outputs go by their order.
        "picture": "ranked_lists.png",
    }
    tables = {
        "retrieval": "retrieval",
        "queries": "retrieval_queries",
        "ranked_lists": "ranked_lists",
        "camera_pairs": "camera_pairs",
    }
    reads = (*FinetunedStage.reads, "retrieval_features")
    memory_mb, minutes = 8000, 120

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [run for run in study.runs() if study.targets[run.target].task == "retrieval"]

    def job(
        self, study: Study, target: str, shots: str, model: str, recipe: str, seed: str
    ) -> jobs.RetrievalJob:
        return jobs.RetrievalJob(
            **tuning(study, target, model, recipe, seed),
            shots=parse_shots(shots),
            retrieval=study.retrieval.asked_of_one_run(),
        )
