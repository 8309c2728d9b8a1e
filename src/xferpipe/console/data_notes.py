"""What is odd about the images of retrieval targets: said at the end of every run of a study."""

from __future__ import annotations

from collections.abc import Collection

from xferpipe.graph.rules import Rules
from xferpipe.graph.stage import Artifact
from xferpipe.graph.stages import path_of


def data_notes(rules: Rules, told: Collection[str]) -> list[str]:
    """Return the findings of the data checks, one line each.

    The manifest of a set is listed once and used in many runs; what was found then counts still.

    Args:
        rules: The study, and where its results lie below the working directory.
        told: Warnings that the run has told; what one of them says is not said again.
    """
    from xferpipe.datasets.findings import findings
    from xferpipe.datasets.manifest import read_manifest

    study = rules.study
    ranked = [one.dataset for one in study.targets.values() if one.task == "retrieval"]
    lines = []
    for name in dict.fromkeys(ranked):
        path = rules.results / path_of(Artifact("manifest", (name,), "manifest"))
        if not path.is_file():
            continue
        rule = study.retrieval.junk_rule
        for finding in findings(study.datasets[name], read_manifest(path), junk_rule=rule):
            if not any(finding in warning for warning in told):
                lines.append(f"data set {name}: {finding}")
    return lines
