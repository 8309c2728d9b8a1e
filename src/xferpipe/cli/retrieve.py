"""`xferpipe retrieve`: figures and ranked lists for features from anywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson

if TYPE_CHECKING:
    from xferpipe.retrieval.operating_point import OperatingPoints


class Distance(StrEnum):
    """Distances that features can be compared by."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


class AveragePrecision(StrEnum):
    """Kinds of average precision."""

    STEP = "step"
    TRAPEZOID = "trapezoid"


class JunkRule(StrEnum):
    """Rules that leave gallery images out."""

    SAME_CAMERA = "same_camera"
    SAME_SEQUENCE = "same_sequence"
    NONE = "none"


def retrieve(
    query: Annotated[
        Path,
        typer.Option(
            help="Features of the queries: .parquet, .npy with a table, .npz, .pt or .mat."
        ),
    ],
    gallery: Annotated[Path, typer.Option(help="Features of the gallery, likewise.")],
    distance: Annotated[
        Distance, typer.Option(help="Distance between features.")
    ] = Distance.EUCLIDEAN,
    ap_kind: Annotated[
        AveragePrecision, typer.Option(help="The field's usual, or VeRi-776's own script.")
    ] = AveragePrecision.STEP,
    junk_rule: Annotated[
        JunkRule | None,
        typer.Option(
            help="Gallery images of the query's identity to leave out; unset: same_camera where "
            "there are cameras."
        ),
    ] = None,
    leave_self_out: Annotated[
        bool | None,
        typer.Option(
            "--leave-self-out/--keep-self",
            help="Leave each query out of its own gallery, or let it count; unset: an error where "
            "a query finds itself.",
        ),
    ] = None,
    drop_identity: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave the images of this identity out, -1 say, on both sides; can be repeated."
        ),
    ] = None,
    normalised: Annotated[bool, typer.Option(help="Scale features to unit length first.")] = False,
    query_expansion: Annotated[
        int,
        typer.Option(
            "--query-expansion",
            "--expand",
            min=0,
            help="Nearest images averaged into each query first.",
        ),
    ] = 0,
    alpha: Annotated[
        float,
        typer.Option(min=0, help="Power of the cosine that weighs these images; 0: all alike."),
    ] = 0.0,
    track: Annotated[
        str | None,
        typer.Option(help="Column of both files: images of one track are one item, their mean."),
    ] = None,
    multi_query: Annotated[
        bool, typer.Option(help="Queries of one identity and camera are one item, their mean.")
    ] = False,
    rerank: Annotated[
        bool, typer.Option(help="Re-rank by k-reciprocal neighbours too; takes more memory.")
    ] = False,
    k1: Annotated[
        int | None, typer.Option(min=1, help="Neighbours that must be reciprocal; unset: 20.")
    ] = None,
    k2: Annotated[
        int | None, typer.Option(min=1, help="Neighbours whose sets are averaged; unset: 6.")
    ] = None,
    lambda_: Annotated[
        float | None,
        typer.Option("--lambda", min=0, max=1, help="Weight of the original distance; unset: 0.3."),
    ] = None,
    operating_points: Annotated[
        bool,
        typer.Option(
            help="Say what passes at a false acceptance of 0.001 and 0.01, and at which distance."
        ),
    ] = False,
    draws: Annotated[
        int,
        typer.Option(
            min=0, help="Random galleries of one image an identity to average over; 0: the whole."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of these draws.")] = 0,
    camera_pairs: Annotated[
        bool, typer.Option(help="Break the figures down by cameras; takes more memory.")
    ] = False,
    list_length: Annotated[int, typer.Option(min=1, help="Gallery images listed a query.")] = 10,
    html: Annotated[
        Path | None, typer.Option(help="Page of ranked lists to write; needs column path.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder to write the same to, a PNG a query.")
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Worst, median and best queries shown, this many of each.")
    ] = 5,
    images: Annotated[
        Path | None, typer.Option(help="Folder that paths of images start from; unset: here.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder to write the tables to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rank a gallery for each query; print CMC, mAP and mINP and write the tables.

    Files are Parquet with columns identity, camera and feature (lists of numbers), or NPY (rows,
    features) with identity and camera in a .csv or .parquet of the same name. They are mapped from
    disk, so a gallery may be larger than memory. Or .npz, .pt or .mat of an evaluation code, with
    gallery_f, gallery_label and gallery_cam; one file may hold both sides.

    Example: xferpipe retrieve --query q.parquet --gallery g.parquet --distance cosine
    """
    from xferpipe.config.retrieval import Retrieval
    from xferpipe.retrieval.feature_files import opened
    from xferpipe.retrieval.files import RankedFiles, ranked_files
    from xferpipe.retrieval.operating_point import RATES
    from xferpipe.retrieval.shown_lists import draw_lists, write_page

    options = Retrieval(
        distance=distance.value,
        normalised=normalised,
        ap_kind=ap_kind.value,
        query_expansion=query_expansion,
        rerank=rerank,
        ranked_list_length=list_length,
        **_reranking(rerank, {"k1": k1, "k2": k2, "lambda": lambda_}),
    )
    if output is not None:
        if output.exists() and not output.is_dir():
            raise ValueError(f"--output {output} is a file; give a folder")
        output.mkdir(parents=True, exist_ok=True)
    is_shown = html is not None or pictures is not None
    extra = [] if track is None else [track]
    made: list[RankedFiles] = []

    def done(result: RankedFiles) -> None:
        """Print and write what there is, so that it is kept whatever becomes of a re-ranking."""
        made[:] = [result]
        if output is not None:
            result.write(output)
        lost = 0
        if html is not None:
            lost = write_page(result.shown, html)
        if pictures is not None:
            lost = draw_lists(result.shown, pictures)
        if lost:
            result.notes.append(
                f"{lost} images cannot be read; is --images the folder that the paths start from?"
            )
        if not as_json:
            look.clear_line()
            _tell(result.figures[-1])
            if result.points is not None and len(result.figures) == 1:
                _tell_points(result.points)

    try:
        with (
            look.progress("reading", quiet=as_json) as progress,
            opened(query, side="query", extra=extra, progress=progress) as queries,
            opened(gallery, side="gallery", extra=extra, progress=progress) as answers,
        ):
            ranked_files(
                queries,
                answers,
                options,
                junk_rule=junk_rule.value if junk_rule else None,
                leave_self_out=leave_self_out,
                drop_identities=drop_identity or (),
                camera_pairs=camera_pairs,
                alpha=alpha,
                track=track,
                multi_query=multi_query,
                operating_points=operating_points,
                draws=draws,
                seed=seed,
                lists=output is not None or is_shown,
                shown=examples if is_shown else 0,
                images=images,
                run={"target": gallery.stem, "model": query.stem},
                done=done,
                progress=progress,
            )
    finally:
        for result in made:
            if as_json:
                *plain, last = result.figures
                more = {"without_reranking": plain[0]} if plain else {}
                if result.points is not None:
                    more["operating_points"] = [result.points.at(rate) for rate in RATES]
                look.print_json(last | more)
            for note in result.notes:
                look.say(f"note: {note}")
            if output is not None and not as_json:
                typer.echo(f"tables: {output}")


def _reranking(rerank: bool, given: dict[str, float | None]) -> dict[str, float]:
    """Return the keys of re-ranking that were given, checked in the words of the command."""
    given = {name: value for name, value in given.items() if value is not None}
    if given and not rerank:
        raise ValueError(f"--{min(given)} is of re-ranking, which was not asked for; add --rerank")
    k1, k2 = given.get("k1", 20), given.get("k2", 6)
    if "k1" in given and "k2" not in given:
        k2 = given["k2"] = min(6, k1 + 1)
    if k2 > k1 + 1:
        raise ValueError(f"--k2 {k2} must be at most --k1 + 1 = {k1 + 1}")
    return {f"rerank_{name}": value for name, value in given.items()}


def _tell_points(points: OperatingPoints) -> None:
    from xferpipe.retrieval.operating_point import RATES

    known, unknown = points.queries
    typer.echo(
        f"thresholds: {points.pairs[0]} pairs of one identity, {points.pairs[1]} of two; "
        f"{known} known queries, {unknown} unknown"
    )
    columns = ["rate", "tpr", "threshold", "dir", "dir_threshold"]
    rows = [points.at(rate) for rate in RATES]
    look.print_table(columns, [[row[name] for name in columns] for row in rows])


def _tell(row: dict[str, Any]) -> None:
    if row["reranked"]:
        typer.echo("re-ranked:")
    names = ["rank1", "rank5", "rank10", "rank20", "map", "minp"]
    look.print_table(names, [[row[name] for name in names]])
    if row["draws"] > 1:
        shown = [f"{name} {row[f'{name}_deviation']:.2g}" for name in ("rank1", "map", "minp")]
        typer.echo(f"means of {row['draws']} draws; standard deviation: {', '.join(shown)}")
    typer.echo(
        f"{row['queries']} queries, {row['queries_without_positive']} without a positive, "
        f"{row['gallery']} gallery images; {row['distance']}, "
        f"{'normalised, ' if row['normalised'] else ''}ap_kind {row['ap_kind']}, junk_rule "
        f"{row['junk_rule']}"
    )
