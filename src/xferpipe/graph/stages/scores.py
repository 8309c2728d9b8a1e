"""Records of the stages that score a model on a target, from probe images to scores."""

from __future__ import annotations

from xferpipe.config import jobs
from xferpipe.config.study import Study, parse_shots
from xferpipe.graph.stage import Artifact, Needs, Stage
from xferpipe.graph.stages.parts import PAIR, ImageStage, entry, on_probe


class Features(ImageStage):
    """Pass the probe images of a target through one model."""

    name = "features"
    does = "compute the features of {model} on {target}: {shots}"
    place = PAIR
    outputs = {"features": "features.safetensors"}

    def job(self, study: Study, target: str, shots: str, model: str) -> jobs.FeaturesJob:
        return jobs.FeaturesJob(**on_probe(study, target, shots, model))

    def needs(self, study: Study, target: str, shots: str, model: str) -> Needs:
        return {**super().needs(study, target), "weights": entry(study, model)}


class Gradients(Features):
    """Take per-image gradients, and features of further layers, of a target's probe images."""

    name = "gradients"
    does = "compute the gradients of {model} on {target}: {shots}"
    outputs = {"gradients": "gradients.safetensors"}
    memory_mb = 8000

    def job(self, study: Study, target: str, shots: str, model: str) -> jobs.GradientsJob:
        scores = study.scores
        # Layers alone need no gradients: without lgc none are taken.
        scalars = scores.gradients.scalars if "lgc" in scores.methods else ()
        return jobs.GradientsJob(
            **on_probe(study, target, shots, model),
            gradients=scores.gradients.model_copy(update={"scalars": scalars}),
            layers=scores.layers,
        )


class Reference(ImageStage):
    """Pass the probe images through the small network fine-tuned on the target, for RSA."""

    name = "reference"
    does = "compute the reference features of {target}: {shots}"
    place = "{target}/{shots}"
    outputs = {"reference": "features.safetensors"}

    def job(self, study: Study, target: str, shots: str) -> jobs.ReferenceJob:
        reference = study.scores.reference
        return jobs.ReferenceJob(
            **on_probe(study, target, shots, reference.model),
            recipe=study.finetuning_recipes[reference.recipe],
        )

    def needs(self, study: Study, target: str, shots: str) -> Needs:
        run = study.reference_run(target, shots)
        return {**super().needs(study, target), "weights": Artifact("finetune", run, "weights")}


class Scores(Stage):
    """Compute every score of one (target, shots, model) from what is cached."""

    name = "scores"
    does = "score {model} on {target}: {shots}"
    place = PAIR
    outputs = {"scores": "scores.parquet"}
    tables = {"scores": "scores"}
    reads = ("zoo",)
    kept = ("scores",)
    parallel = True

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [(*place, model) for place in study.scored() for model in study.zoo]

    def job(self, study: Study, target: str, shots: str, model: str) -> jobs.ScoresJob:
        return jobs.ScoresJob(
            target=target,
            shots=parse_shots(shots),
            model=model,
            scores=study.scores,
            seed=study.seed,
            compute_threads=study.compute_threads,
        )

    def needs(self, study: Study, target: str, shots: str, model: str) -> Needs:
        pair = (target, shots, model)
        gradients = Artifact("gradients", pair, "gradients")
        reference = Artifact("reference", (target, shots), "reference")
        return {
            "features": Artifact("features", pair, "features"),
            "card": entry(study, model, "card"),
            "class_means": entry(study, model, "class_means"),
            "gradients": gradients if study.scores.needs_gradients else None,
            "reference": reference if study.scores.needs_reference else None,
        }
