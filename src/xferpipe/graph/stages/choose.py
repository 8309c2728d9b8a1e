"""Record of the stage that decides what a race runs next."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config import jobs
from xferpipe.config.datasets import Dataset
from xferpipe.config.study import Run, Study, parse_shots
from xferpipe.graph.stage import Artifact, Needs, Stage
from xferpipe.graph.stages.parts import entry


class Choose(Stage):
    """Choose the runs of a race's next round from all that is known, or end the race.

    Its rule is a checkpoint: the runs that a round asks for are jobs from then on. A study that
    follows its races (`graph/races.py`) has a job for each decided round, and for the open one.
    """

    name = "choose"
    does = "choose the next runs on {target}: {shots}, round {round}"
    place = "{target}/{shots}/round{round}"
    outputs = {"decision": "decision.parquet"}
    tables = {"decision": "decisions"}
    reads = ("finetunes", "predictions", "validation_queries", "scores", "zoo", "history")
    libraries = ("numpy", "polars", "scikit-learn", "scipy")
    follows_races = True
    memory_mb, minutes = 2000, 10

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [
            (*place, str(number))
            for place in study.races()
            for number in range(study.decided(*place).known)
        ]

    def job(self, study: Study, target: str, shots: str, round: str) -> jobs.ChooseJob:
        # Which weights stay is decided when the race has ended.
        race = study.races()[target, shots].model_copy(update={"keep": "all"})
        return jobs.ChooseJob(
            target=target,
            shots=parse_shots(shots),
            round=int(round),
            race=race,
            seed=study.seed,
        )

    def needs(self, study: Study, target: str, shots: str, round: str) -> Needs:
        race, decided = study.races()[target, shots], study.decided(target, shots)
        # A round far ahead waits for the open one; what it reads besides is not known before.
        earlier = min(int(round), decided.known)
        models = list(dict.fromkeys(model for model, _ in race.candidates()))
        runs = self.observed(study, target, shots, int(round))

        def each(name: str) -> list[Artifact]:
            return [Artifact("finetune", run, name) for run in runs]

        return {
            "decisions": [
                Artifact(self.name, (target, shots, str(number)), "decision")
                for number in range(earlier)
            ],
            "runs": each("run"),
            "predictions": each("predictions"),
            "queries": each("validation_queries"),
            "scores": [Artifact("scores", (target, shots, model), "scores") for model in models],
            "cards": [entry(study, model, "card") for model in models],
            "history": {str(i): path for i, path in enumerate(study.histories)},
        }

    def user_files(self, study: Study, *wildcards: str) -> list[Dataset | Path]:
        return study.histories

    @staticmethod
    def observed(study: Study, target: str, shots: str, before: int) -> list[Run]:
        """Return the runs that a round knows: of candidates in the grids, and of earlier rounds."""
        candidates = set(study.races()[target, shots].candidates())
        grid = (
            run
            for run in study.grid_runs()
            if run[:2] == (target, shots) and (run.model, run.recipe) in candidates
        )
        raced = (run for asked in study.decided(target, shots).rounds[:before] for run in asked)
        return list(dict.fromkeys([*grid, *raced]))
