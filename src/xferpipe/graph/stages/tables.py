"""Records of the stages that gather all rows and draw them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xferpipe.config import jobs
from xferpipe.config.datasets import Dataset
from xferpipe.config.report import FIGURES
from xferpipe.config.stand_ins import StandIns, stand_ins
from xferpipe.config.study import Study
from xferpipe.graph.stage import BENCHMARK, Artifact, Needs, Stage, artifacts
from xferpipe.graph.stages.parts import block, images, opened_files, root
from xferpipe.records import RESULT_TABLES

_DRAWING = ("altair", "polars", "vl-convert-python")

#: Tables that figures are drawn from: those of single images are most of all rows.
_DRAWN = tuple(name for name in RESULT_TABLES if name not in ("predictions", "validation_queries"))
#: Tables that the page reads: of single images, what the picked runs say of them.
_SHOWN = (*_DRAWN, "predictions")


class Aggregate(Stage):
    """Gather all rows into the result tables and judge the scores."""

    name = "aggregate"
    does = "gather the tables and judge the scores"
    folder = "tables"
    outputs = {"tables": {name: f"{name}.parquet" for name in RESULT_TABLES}}
    reads = (*RESULT_TABLES, "history")
    libraries = ("numpy", "polars", "scikit-learn", "scipy")
    kept = RESULT_TABLES
    follows_races = True

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [()]

    def job(self, study: Study) -> jobs.AggregateJob:
        zoo, datasets = study.zoo, study.datasets
        return jobs.AggregateJob(
            study=study.name,
            selection=study.selection,
            licences={name: listed.licence for name, listed in zoo.items()},
            source_licences={
                name: datasets[listed.source].licence
                for name, listed in zoo.items()
                if listed.source in datasets
            },
            targets=study.targets,
            target_licences={
                name: datasets[target.dataset].licence for name, target in study.targets.items()
            },
            seed=study.seed,
            recipes=tuple(study.finetuning_recipes),
            # Which weights stay is decided when the race has ended.
            races=tuple(race.model_copy(update={"keep": "all"}) for race in study.races().values()),
        )

    def needs(self, study: Study) -> Needs:
        from xferpipe.graph.graph import with_above
        from xferpipe.graph.stages import STAGES

        rows: dict[str, Any] = {}
        for stage in STAGES.values():
            for table, files in stage.rows(study).items():
                rows.setdefault(table, []).extend(files)
        order = {model: place for place, model in enumerate(study.zoo)}
        rows["zoo"].sort(key=lambda card: order[card.wildcards[0]])
        above = dict.fromkeys((need.stage, *need.wildcards) for need in artifacts(rows))
        timed = with_above(study, above)
        return {
            "rows": rows,
            "benchmarks": [Artifact(stage, tuple(job), BENCHMARK) for stage, *job in timed],
            "history": {str(i): path for i, path in enumerate(study.histories)},
        }

    def user_files(self, study: Study) -> list[Dataset | Path]:
        own = study.selection.own_results
        return [*([] if own is None else [own]), *study.histories]


class Figures(Stage):
    """Draw the report's figures one by one, for Snakemake's own report."""

    name = "figures"
    does = "draw the figures"
    outputs = {"figures": {name: f"{name}.svg" for name in FIGURES}}
    reads = _DRAWN
    libraries = _DRAWING
    kept = tuple(FIGURES)
    follows_races = True
    memory_mb, minutes = 2000, 30

    def jobs(self, study: Study) -> list[tuple[str, ...]]:
        return [()]

    def job(self, study: Study) -> jobs.ReportJob:
        # Which fine-tunes take features is their business; the report shows those it finds.
        shown = study.report.model_copy(update={"feature_correlation": None})
        beside = shown.published or shown.orders or shown.comparisons
        return jobs.ReportJob(
            study=study.name,
            selection=study.selection,
            report=shown,
            stand_ins=stand_ins(study) if beside else StandIns(),
        )

    def needs(self, study: Study) -> Needs:
        return {"tables": {name: Artifact("aggregate", (), name) for name in _DRAWN}}


class Report(Figures):
    """Write the report page from the tables and the targets' images."""

    name = "report"
    does = "write the report page"
    folder = ""
    outputs = {"page": "report.html"}
    reads = (*_SHOWN, "manifest", "image_findings")
    libraries = (*_DRAWING, "numpy", "pillow")
    kept = ("page",)

    def job(self, study: Study) -> jobs.ReportJob:
        datasets = {target.dataset for target in study.targets.values()}
        page = {
            "targets": study.targets,
            "datasets": {name: block(study, name) for name in sorted(datasets)},
            "recipes": study.finetuning_recipes,
            "exported": tuple(study.exported()),
            "seed": study.seed,
        }
        return super().job(study).model_copy(update=page)

    def needs(self, study: Study) -> Needs:
        return {
            "tables": {name: Artifact("aggregate", (), name) for name in _SHOWN},
            "targets": {name: _shown(study, of.dataset) for name, of in study.targets.items()},
            "sources": {
                name: Artifact("manifest", (name,), "manifest") for name in _sources_of_files(study)
            },
        }

    def user_files(self, study: Study) -> list[Dataset | Path]:
        datasets = dict.fromkeys(target.dataset for target in study.targets.values())
        return [file for name in datasets for file in opened_files(study, name)]


def _shown(study: Study, dataset: str) -> Needs:
    """Return what pictures of a data set need: its packed images, else the files themselves."""
    needs = images(study, dataset) | {"findings": Artifact("manifest", (dataset,), "findings")}
    return needs | {"root": None} if needs["images"] is not None else needs


def _sources_of_files(study: Study) -> list[str]:
    """Name the data sets of the user's files that models are pretrained on."""
    used = []
    for entry in study.zoo.values():
        if entry.weights == "pretrain":
            used.append(entry.source)
        elif entry.weights == "expert":
            used += study.experts[entry.expert].sources
    return [name for name in dict.fromkeys(used) if root(study, name) is not None]
