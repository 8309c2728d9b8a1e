"""What a message of retrieval advises can be done by whoever reads it."""

import ast
import inspect
import json
import re
from pathlib import Path

import numpy
import pytest
import typer
from tests.retrieval.test_retrieve_command import command, write_npy

import xferpipe
from xferpipe import ops
from xferpipe.cli import application
from xferpipe.config.datasets import Veri776
from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval import evaluate

SOURCES = Path(xferpipe.__file__).parent
MODULES = [
    SOURCES / "cli/retrieve.py",
    SOURCES / "stages/retrieval.py",
    *sorted((SOURCES / "retrieval").glob("*.py")),
    *(SOURCES / f"ops/{name}.py" for name in ("inputs", "pairs", "rank_metrics", "nearest")),
    SOURCES / "ops/k_reciprocal.py",
]
#: Words with an underscore that are names of files, columns or tables and not of options.
OTHERS = {"same_camera", "same_sequence", "index_lists", "gallery_image", "loadmat"}


def messages(path):
    """Return the words of every raise, note and log call of a module; what is filled in is {}."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise | ast.Return | ast.Call | ast.Assign | ast.AugAssign):
            for part in ast.walk(node):
                if isinstance(part, ast.JoinedStr):
                    words = [
                        piece.value if isinstance(piece, ast.Constant) else "{}"
                        for piece in part.values
                    ]
                    yield "".join(words)
                elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def options_of_command():
    command = typer.main.get_command(application()).commands["retrieve"]
    return {
        word for option in command.params for word in [*option.opts, *option.secondary_opts]
    } | {"--"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_messages_name_options_that_there_are(path):
    flags = options_of_command()
    for text in messages(path):
        for flag in re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", text):
            assert flag in flags, text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_messages_of_a_library_send_nobody_to_the_workflow(path):
    for text in messages(path):
        assert "snakemake" not in text, text


def test_messages_name_arguments_and_keys_that_there_are():
    known = OTHERS | set(Retrieval.model_fields) | set(Veri776.model_fields)
    for function in (evaluate, ops.rank_metrics, ops.nearest, ops.k_reciprocal):
        known |= set(inspect.signature(function).parameters)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                for part in ast.walk(node.exc):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        for name in re.findall(r"\b[a-z]+_[a-z_0-9]*[a-z0-9]\b", part.value):
                            assert name in known, part.value


@pytest.fixture
def few(tmp_path):
    """Twelve images in all: fewer than k1 wants."""
    random = numpy.random.default_rng(0)
    paths = []
    for name, rows in (("query", 3), ("gallery", 9)):
        columns = {
            "feature": random.normal(size=(rows, 4)).astype(numpy.float32),
            "identity": numpy.arange(rows) % 3,
        }
        paths.append(write_npy(tmp_path / f"{name}.npy", columns))
    return ["--query", *paths[:1], "--gallery", *paths[1:]]


def test_retrieve_reranking_that_fails_leaves_the_plain_figures(few, tmp_path):
    plain = command(*few)
    again = command(*few, "--rerank", "--output", tmp_path / "out")
    assert again.exit_code == 2
    assert "--k1" in again.stderr
    assert "1 .. 11" in again.stderr
    assert again.stdout.splitlines()[:3] == plain.stdout.splitlines()
    assert (tmp_path / "out/retrieval.parquet").is_file()
    assert (tmp_path / "out/ranked_lists.parquet").is_file()
    found = command(*few, "--rerank", "--json")
    assert found.exit_code == 2
    row, expected = json.loads(found.stdout), json.loads(command(*few, "--json").stdout)
    del row["seconds"], expected["seconds"]
    assert row == expected


def test_retrieve_reranks_as_its_options_say(few):
    query, gallery = (numpy.load(few[at]) for at in (1, 3))
    labels = (numpy.arange(3) % 3, numpy.arange(9) % 3)
    found = json.loads(
        command(*few, "--rerank", "--k1", 4, "--k2", 2, "--lambda", 0.7, "--json").stdout
    )
    expected = evaluate(
        *(query, gallery, *labels), rerank=True, rerank_k1=4, rerank_k2=2, rerank_lambda=0.7
    )
    assert found["map"] == expected["map"]
    assert found["without_reranking"]["map"] == evaluate(query, gallery, *labels)["map"]
    # k2 is at most k1 + 1, so its default gives way.
    assert command(*few, "--rerank", "--k1", 3).exit_code == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--k1", 3], "--k1 is of re-ranking, which was not asked for; add --rerank"),
        (["--rerank", "--k1", 3, "--k2", 9], "--k2 9 must be at most --k1 + 1 = 4"),
        (["--rerank", "--k1", 12], "rerank_k1 may be 1 .. 11"),
        (["--junk-rule", "same_camera"], "a column of that kind on both sides"),
    ],
)
def test_retrieve_options_that_do_not_fit_are_named(flags, message, few):
    result = command(*few, *flags)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rerank_k1": 5}, r"rerank_k1 may be 1 \.\. 4"),
        ({"rerank_k1": 2, "rerank_k2": 4}, "rerank_k2 .* is 4; expected 1 .. rerank_k1"),
        ({"rerank_k1": 2, "rerank_k2": 1, "rerank_lambda": 1.5}, "rerank_lambda .* is 1.5"),
    ],
)
def test_evaluate_reranking_names_its_own_arguments(options, message):
    random = numpy.random.default_rng(0)
    arguments = (random.normal(size=(2, 3)), random.normal(size=(3, 3)), [0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments, rerank=True, **options)
