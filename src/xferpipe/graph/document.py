"""Write docs/stages.md from the records of the stages: `python -m xferpipe.graph.document`."""

from __future__ import annotations

import ast
from pathlib import Path

from xferpipe.graph.stage import SIDECAR, Stage
from xferpipe.graph.stages import STAGES

_HEAD = """\
# Stages

Generated from `xferpipe.graph.stages` by `make docs`. A stage is a record, a rule and a function
`xferpipe.stages.<stage>.<stage>(job, *, ...)`: the function takes the files that it reads and
writes by the names below. Paths are below `results/<study>/`.
"""


def stages_markdown() -> str:
    """Return docs/stages.md."""
    columns = ("stage", "what a job does", "reads", "folder", "writes")
    lines = [_HEAD, f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for stage in STAGES.values():
        cells = (
            stage.name,
            (stage.__doc__ or "").splitlines()[0].rstrip("."),
            ", ".join(f"`{name}`" for name in inputs_of(stage)),
            f"`{_folder(stage)}`",
            ", ".join(f"`{name}`" for name in stage.outputs if name != SIDECAR),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def inputs_of(stage: Stage) -> list[str]:
    """Return the names of the files that a stage's function reads, from its source."""
    source = Path(__file__).parents[1] / "stages" / f"{stage.name}.py"
    (function,) = (
        node
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == stage.name
    )
    names = [argument.arg for argument in function.args.kwonlyargs]
    return [name for name in names if name not in stage.outputs and name != "checkpoint"]


def _folder(stage: Stage) -> str:
    """Return the folder that all outputs of a job lie in."""
    name, file = next(iter(stage.files.items()))
    path = stage.output(name)
    return path.removesuffix(file).rstrip("/") or "."


def main() -> None:
    """Write the page."""
    Path("docs/stages.md").write_text(stages_markdown())


if __name__ == "__main__":
    main()
