"""`xferpipe recommend`: which model and recipe to fine-tune on a target, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xferpipe.cli import look
from xferpipe.cli.folders import tables_folder
from xferpipe.cli.limits import within
from xferpipe.cli.options import AsJson, Results
from xferpipe.config.nearest import suggestion

if TYPE_CHECKING:
    import polars

    from xferpipe.report.answer_words import AnswerWords

#: Columns of table `answers` that are shown, and their heads.
_SHOWN = {
    "model": "model",
    "recipe": "recipe",
    "mean": "expected",
    "low": "low",
    "high": "high",
    "probability_best": "p best",
    "probability_near_best": "p near best",
    "runs": "runs",
    "test": "test",
    "cost": "s a run",
    "milliseconds": "ms an image",
    "licence": "weights' licence",
    "source": "source",
    "source_licence": "source's licence",
}
_CARD = (
    *("licence", "source", "source_licence"),
    *("milliseconds", "gmacs", "parameters", "weights_mib"),
)


def recommend(
    target: Annotated[str, typer.Argument(help="Target of the study.")],
    results: Results = None,
    shots: Annotated[str, typer.Option(help="Training images per class, or full.")] = "full",
    own_results: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet of fine-tuning results that you have (target, model, accuracy, "
            "balanced_accuracy, macro_f1 or map), in place of the study's `own_results`."
        ),
    ] = None,
    history: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Parquet file of earlier results, in place of the study's; repeatable.",
        ),
    ] = None,
    shipped_history: Annotated[
        bool, typer.Option(help="Where it answers anew: know what comes with the package, too.")
    ] = True,
    max_ms: Annotated[
        float | None,
        typer.Option(min=0, help="Leave out models that take longer for one image, in ms."),
    ] = None,
    max_gmacs: Annotated[
        float | None,
        typer.Option(min=0, help="Leave out models of more multiply-adds an image, in 10^9."),
    ] = None,
    max_params: Annotated[
        float | None, typer.Option(min=0, help="Leave out models of more million parameters.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Pairs to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Say which model and recipe to fine-tune on a target, and how sure that is.

    It reads table `answers`, as the report does; with results of your own, a history or a limit
    that leaves models out it answers anew, without the own results and histories that the study
    names. What an image costs a model was measured on the machine that ran the study: table `zoo`.

    Example: xferpipe recommend digits_5_to_9 --shots 5
    """
    import polars

    from xferpipe.records import read_table
    from xferpipe.report.answer_words import words_of
    from xferpipe.report.evidence import place_label

    tables = tables_folder(results)
    with look.progress("reading the tables", quiet=as_json) as progress:
        stored = read_table("answers", tables / "answers.parquet")
        rows = stored.filter(target=target, shots=shots)
        if rows.is_empty():
            places = stored.select("target", "shots").unique(maintain_order=True).rows()
            known = ", ".join(f"{name} ({number})" for name, number in places) or "none"
            near = suggestion(target, {name for name, _ in places})
            raise ValueError(
                f"target {target!r} with shots {shots} was neither scored nor fine-tuned{near}; "
                f"there are: {known}"
            )
        zoo = read_table("zoo", tables / "zoo.parquet")
        limits = {"milliseconds": max_ms, "gmacs": max_gmacs, "parameters": max_params}
        allowed = within(zoo, limits)
        if own_results is not None or history or allowed.left_out:
            progress("answering anew", 0, 0)
            rows = _answered_anew(
                rows, tables, own_results, history or [], shipped_history, allowed.left_out
            )
        finetunes = read_table("finetunes", tables / "finetunes.parquet").filter(
            ~polars.col("model").is_in(allowed.left_out)
        )
        targets = read_table("targets", tables / "targets.parquet")
    words = words_of(
        place_label(target, shots),
        rows,
        finetunes.filter(target=target, shots=shots),
    )
    rows = rows.join(zoo.select("model", *_CARD), on="model", how="left", maintain_order="left")
    licence = dict(targets.select("target", "licence").iter_rows()).get(target)
    if as_json:
        left = {"left_out": allowed.left_out, "cost_unknown": allowed.unknown}
        look.print_json(_json(rows, words, licence) | left)
    else:
        for line in allowed.said:
            typer.echo(line)
        _print(rows, words, licence, target, top)


def _answered_anew(
    rows: polars.DataFrame,
    tables: Path,
    own: Path | None,
    history: list[Path],
    shipped_history: bool,
    left_out: list[str],
) -> polars.DataFrame:
    """Answer again for one target and shots, by the rules of the stored answer.

    Of models that are left out neither runs nor scores of the target count: what is said is said
    of the others alone.
    """
    from xferpipe.aggregate.answers import answers
    from xferpipe.aggregate.earlier import Earlier
    from xferpipe.config.histories import shipped
    from xferpipe.evidence.answers import Asked
    from xferpipe.evidence.reported import MEDIAN

    first = rows.row(0, named=True)
    place = (first["target"], first["shots"])
    given = first["reference"]
    reference = None if given == MEDIAN or given in left_out else given
    asked = Asked(first["confidence"], first["indifference"], first["level"], reference)
    return answers(
        tables,
        {place: asked},
        recipes={place: rows["recipe"].drop_nulls().unique(maintain_order=True)},
        own=own,
        earlier=Earlier(
            tables,
            tables.resolve().parent.name,
            [*history, *(shipped() if shipped_history else ())],
        ),
        left_out=left_out,
    )


def _json(rows: polars.DataFrame, words: AnswerWords, licence: str | None) -> dict[str, Any]:
    """Return what a program reads: facts of the answer once, and a row for each pair."""
    first = rows.row(0, named=True)
    place = ["target", "shots", "metric", "chosen_on", "basis"]
    rules = ["confidence", "indifference", "level", "reference"]
    pairs = rows.drop(place + rules).to_dicts()

    def those(flag: str) -> list[dict[str, Any]]:
        return [{name: row[name] for name in ("model", "recipe")} for row in pairs if row[flag]]

    def one(flag: str) -> dict[str, Any] | None:
        return next(iter(those(flag)), None)

    return {
        **{name: first[name] for name in place + rules},
        "answer": words.kind,
        "label": words.label,
        **{flag: one(flag) for flag in ("named", "settled", "pick", "cheapest", "next")},
        "top": those("top"),
        "says": words.lines,
        "target_licence": licence,
        "pairs": pairs,
    }


def _print(
    rows: polars.DataFrame, words: AnswerWords, licence: str | None, target: str, top: int
) -> None:
    typer.echo(words.in_one_line)
    for line in words.lines if words.pair is not None else words.lines[1:]:
        typer.echo(line)
    shown = rows.head(top)
    look.print_table(list(_SHOWN.values()), shown.select(list(_SHOWN)).rows())
    if rows.height > top:
        look.say(f"{top} of {rows.height} pairs; --top shows more")
    typer.echo(f"Licence of the images of {target}: {licence or '-'}")
    # Their figures are of the test split alone: see `aggregate.measured`.
    if untold := rows.filter(rows["test"].is_not_null() & (rows["runs"] == 0)).height:
        look.say(
            f"note: {untold} pairs have test figures alone, which choose nothing where other runs "
            "have validation figures"
        )
    if None in [*shown["licence"], licence]:
        look.say("note: a dash under a licence means that the study does not state it: check it")
