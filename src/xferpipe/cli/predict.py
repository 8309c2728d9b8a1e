"""`xferpipe predict`: what an exported model says of photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson, Device, Threads

#: Photographs that are shown where nothing is written.
_SHOWN = 20


def predict(
    folder: Annotated[Path, typer.Argument(help="Folder of `xferpipe export`.")],
    photos: Annotated[Path, typer.Argument(help="Folder of photographs, or one of them.")],
    output: Annotated[
        Path | None, typer.Option(help="Parquet file to write; unset: the first are shown.")
    ] = None,
    device: Device = "auto",
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Classify photographs with an exported model; one for retrieval gives features.

    A photograph that cannot be decoded is a row with its problem.

    Example: xferpipe predict best_model new_photos --output predictions.parquet
    """
    import polars

    from xferpipe.handover.bundle import read_bundle
    from xferpipe.handover.predict import photographs, predict
    from xferpipe.records import atomic_path
    from xferpipe.training.compute import prepare

    _check_exported(folder)
    with look.progress("reading the model", quiet=as_json) as progress:
        bundle = read_bundle(folder)
        paths = photographs(photos)
        found = predict(bundle, paths, device=prepare(device, threads), progress=progress)
    if output is not None:
        with atomic_path(output) as temporary:
            found.write_parquet(temporary)
    damaged = found.filter(polars.col("problem").is_not_null())
    if as_json:
        facts: dict[str, object] = {
            "photographs": found.height,
            "problems": damaged.height,
            "output": None if output is None else str(output),
        }
        if output is None:
            facts["rows"] = found.to_dicts()
        if bundle.about.task == "classification":
            facts["classes"] = list(bundle.about.class_names)
        look.print_json(facts)
        return
    if "predicted" in found.columns:
        if output is None:
            shown = found.head(_SHOWN).select("path", "predicted", "probability")
            look.print_table(shown.columns, shown.rows())
        else:
            counts = found["predicted"].drop_nulls().value_counts(sort=True, name="photographs")
            look.print_table(["predicted", "photographs"], counts.rows())
    if output is not None:
        typer.echo(f"{output}: {found.height} photographs")
    elif found.height > _SHOWN or "predicted" not in found.columns:
        typer.echo(f"{found.height} photographs; --output writes them all")
    for path, problem in damaged.select("path", "problem").head(5).rows():
        look.say(f"{path}: {problem}")
    if damaged.height > 5:
        look.say(f"and {damaged.height - 5} more that cannot be decoded: column `problem`")


def _check_exported(folder: Path) -> None:
    """Refuse the results of a study in place of a model, and name the models that lie there."""
    from xferpipe.handover.bundle import CONFIG

    if (folder / CONFIG).is_file():
        return
    places = ("*", "*/*", "export/*/*")
    found = [str(path.parent) for place in places for path in folder.glob(f"{place}/{CONFIG}")]
    if found:
        raise ValueError(f"{folder} is no exported model; below it lie: {', '.join(sorted(found))}")
