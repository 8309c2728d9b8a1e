"""What each job reads of the jobs above it.

The rules' input paths, the cumulative keys and the check of every input in the job all come from
here, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xferpipe.config.study import FinetuneId, Study
from xferpipe.rebuild.layout import BENCHMARK, RESULT_TABLES, Artifact

#: Name of an input -> what it is: one artifact, several in their order, or none.
Needs = dict[str, Artifact | list[Artifact] | None]

_MINIMISERS = {
    "minimisers": ("probe", "probe_finetuned"),
    "distances": ("path",),
    "paths": ("path",),
    "forgetting": ("continual",),
}


class Graph:
    """The jobs of a study and what each needs.

    Args:
        study: The checked study.
    """

    def __init__(self, study: Study) -> None:
        self.study = study

    def needs(self, stage: str, *wildcards: str) -> Needs:
        """Return what a job reads, by the names of its rule's inputs."""
        return getattr(self, f"_{stage}")(*wildcards)

    def above(self, stage: str, *wildcards: str) -> list[tuple[str, ...]]:
        """Return the jobs (stage and wildcards) whose outputs a job reads, each once, in order."""
        needed = artifacts(self.needs(stage, *wildcards))
        return list(
            dict.fromkeys(
                (need.stage, *need.wildcards) for need in needed if need.name != BENCHMARK
            )
        )

    def files_of_user(self, stage: str, *wildcards: str) -> list[str]:
        """Return the data sets whose own files a job opens: to list, to pack, or in every epoch."""
        if stage in ("manifest", "pack"):
            read = [wildcards[0]]
        else:
            needs = self.needs(stage, *wildcards)
            manifests = artifacts({"": needs.get("manifest") or needs.get("manifests")})
            read = [manifest.wildcards[0] for manifest in manifests]
            read = [dataset for dataset in read if not self.study.datasets[dataset].pack]
        return [dataset for dataset in read if self._root(dataset) is None]

    def jobs(self) -> Iterator[tuple[str, ...]]:
        """Yield every job (stage and wildcards) of the study once, after those above it."""
        return self._with_above([("report",), ("figures",)])

    def _with_above(self, jobs: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
        """Yield jobs and all that they depend on, each once, after those above it."""
        seen: set[tuple[str, ...]] = set()
        waiting = [(job, False) for job in reversed(list(jobs))]
        while waiting:
            job, above_done = waiting.pop()
            if above_done:
                yield job
            elif job not in seen:
                seen.add(job)
                waiting.append((job, True))
                waiting += [(above, False) for above in reversed(self.above(*job))]

    def entry(self, model: str, name: str = "weights") -> Artifact:
        """Return a file of a zoo entry, wherever its weights come from."""
        stages = {"pretrain": "pretrain", "expert": "domain"}
        return Artifact(stages.get(self.study.zoo[model].weights, "load_weights"), (model,), name)

    def images(self, dataset: str) -> Needs:
        """Return what reading a data set's images needs."""
        block = self.study.datasets[dataset]
        return {
            "manifest": Artifact("manifest", (dataset,), "manifest"),
            "images": Artifact("pack", (dataset,), "images") if block.pack else None,
            "root": self._root(dataset),
        }

    def _root(self, dataset: str) -> Artifact | None:
        """Return a generated folder; a user's own is no artifact."""
        generated = getattr(self.study.datasets[dataset], "generate", None) is not None
        return Artifact("generate", (dataset,), "root") if generated else None

    def _generate(self, dataset: str) -> Needs:
        return {}

    def _manifest(self, dataset: str) -> Needs:
        return {"root": self._root(dataset)}

    def _pack(self, dataset: str) -> Needs:
        return {
            "manifest": Artifact("manifest", (dataset,), "manifest"),
            "root": self._root(dataset),
        }

    def _pretrain(self, model: str) -> Needs:
        entry = self.study.zoo[model]
        initial = None if entry.initial is None else self.entry(entry.initial)
        return {**self.images(entry.source), "initial": initial}

    def _expert(self, name: str) -> Needs:
        expert = self.study.experts[name]
        sources = [self.images(source) for source in expert.sources]
        return {
            "manifests": [source["manifest"] for source in sources],
            "images": [source["images"] for source in sources if source["images"]],
            "roots": [source["root"] for source in sources if source["root"]],
            "initial": None if expert.initial is None else self.entry(expert.initial),
        }

    def _domain(self, model: str) -> Needs:
        return {"domains": Artifact("expert", (self.study.zoo[model].expert,), "domains")}

    def _load_weights(self, model: str) -> Needs:
        return {}

    def _features(self, target: str, shots: str, model: str) -> Needs:
        return self._on_target(target, model)

    def _gradients(self, target: str, shots: str, model: str) -> Needs:
        return self._on_target(target, model)

    def _on_target(self, target: str, model: str) -> Needs:
        images = self.images(self.study.targets[target].dataset)
        return {**images, "weights": self.entry(model)}

    def _reference(self, target: str, shots: str) -> Needs:
        return self._finetuned(*self.study.reference_run(target, shots))

    def _scores(self, target: str, shots: str, model: str) -> Needs:
        asked = self.study.scores
        pair = (target, shots, model)
        return {
            "features": Artifact("features", pair, "features"),
            "card": self.entry(model, "card"),
            "class_means": self.entry(model, "class_means"),
            "gradients": Artifact("gradients", pair, "gradients")
            if asked.needs_gradients
            else None,
            "reference": Artifact("reference", (target, shots), "reference")
            if asked.needs_reference
            else None,
        }

    def _finetune(self, target: str, shots: str, model: str, recipe: str, seed: str) -> Needs:
        return self._on_target(target, model)

    def _retrieval(self, *run: str) -> Needs:
        return self._finetuned(*run)

    def _finetuned(self, *run: str) -> Needs:
        images = self.images(self.study.targets[run[0]].dataset)
        return {**images, "weights": Artifact("finetune", run, "weights")}

    def _probe(self, model: str) -> Needs:
        return {**self.images(self.study.zoo[model].source), "weights": self.entry(model)}

    def _path(self, first: str, second: str) -> Needs:
        return {
            **self.images(self.study.zoo[first].source),
            "first": self.entry(first),
            "second": self.entry(second),
        }

    def _probe_finetuned(self, *run: str) -> Needs:
        return {**self._finetuned(*run), "run": Artifact("finetune", run, "run")}

    def _continual(self, target: str, model: str, seed: str) -> Needs:
        return self._on_target(target, model)

    def _aggregate(self) -> Needs:
        needs = self._gathered()
        above = dict.fromkeys((need.stage, *need.wildcards) for need in artifacts(needs))
        needs["benchmarks"] = [
            Artifact(stage, wildcards, BENCHMARK)
            for stage, *rest in self._with_above(above)
            for wildcards in [tuple(rest)]
        ]
        return needs

    def _gathered(self) -> Needs:
        """Return the rows of every job, by what they are rows of."""
        study = self.study
        runs = [wildcards_of(run) for run in study.finetune_ids()]
        ranked = [run for run in runs if study.targets[run[0]].task == "retrieval"]
        pretrained = [self.entry(model, "epochs") for model in study.zoo]
        needs: Needs = {
            "zoo": [self.entry(model, "card") for model in study.zoo],
            "epochs": [
                *(entry for entry in pretrained if entry.stage == "pretrain"),
                *(Artifact("expert", (name,), "epochs") for name in study.experts),
                *(Artifact("finetune", run, "epochs") for run in runs),
            ],
            "scores": [
                Artifact("scores", (target, shots, model), "scores")
                for target, shots in study.scored()
                for model in study.zoo
            ],
            "finetunes": [Artifact("finetune", run, "run") for run in runs],
            "feature_correlation": [
                Artifact("finetune", wildcards_of(run), "feature_correlation")
                for run in study.finetune_ids()
                if study.takes_features(run.target, run.shots, run.model, run.recipe, run.seed)
            ],
        }
        for name in ("retrieval", "queries", "ranked_lists", "camera_pairs"):
            needs[name] = [Artifact("retrieval", run, name) for run in ranked]
        minimisers = study.minimiser_jobs()
        for name, stages in _MINIMISERS.items():
            needs[name] = [
                Artifact(stage, job, name) for stage in stages for job in minimisers[stage]
            ]
        return needs

    def _report(self) -> Needs:
        return {name: Artifact("aggregate", (), name) for name in RESULT_TABLES}

    def _figures(self) -> Needs:
        return self._report()


def artifacts(needs: Needs) -> list[Artifact]:
    """Return all that a job reads as one list."""
    found: list[Artifact] = []
    for need in needs.values():
        if isinstance(need, Artifact):
            found.append(need)
        elif need:
            found += need
    return found


def wildcards_of(run: FinetuneId) -> tuple[str, str, str, str, str]:
    """Return a run's wildcards in the order of its result path."""
    return run.target, str(run.shots), run.model, run.recipe, str(run.seed)
