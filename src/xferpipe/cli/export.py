"""`xferpipe export`: a fine-tuned model as a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.folders import tables_folder
from xferpipe.cli.options import AsJson, Results


def export(
    target: Annotated[str, typer.Argument(help="Target of the study.")],
    output: Annotated[Path, typer.Argument(help="Folder to make.")],
    results: Results = None,
    shots: Annotated[
        str | None, typer.Option(help="Training images per class, or full; unset: the only ones.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model, in place of the one that the answer picks.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe, likewise.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the run; unset: the best on validation images.")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write model.onnx too, checked for equal outputs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export the model that a study picks for a target: weights, configuration, card.

    A model of timm opens with timm.create_model("local-dir:FOLDER"); any does with
    `xferpipe predict`.

    Example: xferpipe export digits_5_to_9 best_model --shots full
    """
    from xferpipe.handover.bundle import write_bundle
    from xferpipe.handover.winner import winner

    chosen = winner(
        tables_folder(results),
        target,
        shots=shots,
        model=model,
        recipe=recipe,
        seed=seed,
    )
    about = write_bundle(chosen, output, onnx=onnx)
    facts = {
        "folder": str(output),
        "model": about.model,
        "recipe": about.recipe,
        "seed": about.seed,
        "shots": about.shots,
        "task": about.task,
        "classes": len(about.class_names),
        "files": sorted(path.name for path in output.iterdir()),
        "licence": chosen.card["licence"],
        "licence_known": chosen.card["licence"] is not None or chosen.is_own,
    }
    if as_json:
        look.print_json(facts)
        return
    typer.echo(f"{output}: {about.model}, {about.recipe}, shots {about.shots}, seed {about.seed}")
    typer.echo(f"files: {', '.join(facts['files'])}")
    typer.echo(f"use it: xferpipe predict {output} PHOTOS")
    if not facts["licence_known"]:
        look.say(
            "the licence of the weights that it started from is unknown: look before you share"
        )
