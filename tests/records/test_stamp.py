"""Stamps: every kind of output says which job wrote it, and another program's copy says nothing."""

import json
import subprocess
import sys

import numpy
import polars
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xferpipe import records
from xferpipe.records.stamp import (
    Stamp,
    metadata_of_job,
    read_stamp,
    stamped_text,
    stamping,
    write_sidecar,
)
from xferpipe.records.tensors import copy_tensors, read_tensors, save_tensors

STAMP = Stamp("key", "finetune a/b--c", '{"recipe":"--> \u00e9"}', "code", '{"torch":"2"}')


def table(path):
    records.write_table("scores", records.frame("scores", [{"model": "m", "value": 1.0}]), path)


def tensors(path):
    save_tensors({"w": torch.ones(2)}, {"seconds": "1.0"}, path=path)


def text(path):
    path.write_text(stamped_text("<html><body>a --&gt; b</body></html>\n"))


def picture(path):
    about = PngInfo()
    for name, value in metadata_of_job().items():
        about.add_text(name, value)
    Image.new("RGB", (2, 2)).save(path, pnginfo=about)


def array(path):
    numpy.save(path, numpy.zeros(3))
    write_sidecar(path, STAMP)


def folder(path):
    path.mkdir()
    (path / "a.jpg").write_bytes(b"0")
    write_sidecar(path, STAMP)


WRITERS = {
    "scores.parquet": table,
    "weights.safetensors": tensors,
    "report.html": text,
    "figure.svg": text,
    "lists.png": picture,
    "images.npy": array,
    "domains": folder,
}


@pytest.mark.parametrize("name", WRITERS)
def test_output_of_a_job_carries_its_stamp(name, tmp_path):
    with stamping(STAMP):
        WRITERS[name](tmp_path / name)
    assert read_stamp(tmp_path / name) == STAMP


@pytest.mark.parametrize(
    "name", [name for name in WRITERS if name not in ("images.npy", "domains")]
)
def test_file_written_outside_of_a_job_has_no_stamp(name, tmp_path):
    WRITERS[name](tmp_path / name)
    assert read_stamp(tmp_path / name) is None


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("left", [0, 3, 0.5])
def test_file_that_was_cut_has_no_stamp_or_its_own(name, left, tmp_path):
    path = tmp_path / name
    with stamping(STAMP):
        WRITERS[name](path)
    cut = path if path.is_file() else path / "xferpipe.json"
    content = cut.read_bytes()
    cut.write_bytes(content[: int(left * len(content)) if left == 0.5 else left])
    assert read_stamp(path) in (None, STAMP)
    if name in ("scores.parquet", "domains"):
        assert read_stamp(path) is None


@pytest.mark.parametrize(
    "content", ["[]", "null", "1", '"text"', "[" * 5000, '{"xferpipe.key": 1}']
)
@pytest.mark.parametrize("name", ["images.npy", "weights.safetensors", "report.html", "domains"])
def test_stamp_that_is_not_one_is_none(name, content, tmp_path):
    path = tmp_path / name
    if name == "images.npy":
        array(path)
        path.with_name("images.npy.json").write_text(content)
    elif name == "domains":
        folder(path)
        (path / "xferpipe.json").write_text(content)
    elif name == "report.html":
        path.write_text(f"<html></html>\n<!-- xferpipe {content} -->\n")
    else:
        header = f'{{"__metadata__":{content}}}'.encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert read_stamp(path) is None


def test_missing_file_has_no_stamp(tmp_path):
    for name in WRITERS:
        assert read_stamp(tmp_path / name) is None


def test_array_that_is_gone_has_no_stamp_although_its_sidecar_is_there(tmp_path):
    with stamping(STAMP):
        array(tmp_path / "images.npy")
    (tmp_path / "images.npy").unlink()
    assert read_stamp(tmp_path / "images.npy") is None


@pytest.mark.parametrize("rewrite", ["polars", "pyarrow"])
def test_table_that_another_program_wrote_anew_has_no_stamp(rewrite, tmp_path):
    path = tmp_path / "scores.parquet"
    with stamping(STAMP):
        table(path)
    if rewrite == "polars":
        polars.read_parquet(path).write_parquet(path)
    else:
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), path)
    assert read_stamp(path) is None


def test_copy_of_tensors_carries_the_stamp_of_the_job_that_copies(tmp_path):
    other = Stamp("other", "domain a", "{}", "c", "{}")
    with stamping(STAMP):
        tensors(tmp_path / "weights.safetensors")
    with stamping(other):
        copy_tensors(tmp_path / "weights.safetensors", tmp_path / "copy.safetensors")
    assert read_stamp(tmp_path / "copy.safetensors") == other
    held, metadata = read_tensors(tmp_path / "copy.safetensors")
    assert (held["w"].tolist(), metadata["seconds"]) == ([1.0, 1.0], "1.0")


def test_same_tensors_are_the_same_bytes_in_every_process(tmp_path):
    """Weights are compared by their bytes; safetensors alone orders its texts at random."""
    script = (
        "import sys, torch\n"
        "from xferpipe.records.stamp import Stamp, stamping\n"
        "from xferpipe.records.tensors import save_tensors\n"
        "with stamping(Stamp('k', 'j \u00e9', '{\"a\":\"\u007f\\t\"}', 'c', 'v')):\n"
        "    texts = {'seconds': '1', 'b': '\u00e9'}\n"
        "    save_tensors({'w': torch.ones(3)}, texts, path=sys.argv[1])\n"
    )
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for file in files:
        subprocess.run([sys.executable, "-c", script, file], check=True)
    assert len({file.read_bytes() for file in files}) == 1
    held, metadata = read_tensors(files[0])
    assert held["w"].tolist() == [1.0, 1.0, 1.0]
    assert (metadata["b"], metadata["xferpipe.job"]) == ("\u00e9", "j \u00e9")


def test_stamp_of_html_is_a_comment_that_ends_once(tmp_path):
    with stamping(STAMP):
        content = stamped_text("<html></html>")
    assert content.startswith("<html></html>\n<!-- xferpipe ")
    comment = content.splitlines()[-1].removeprefix("<!-- ").removesuffix(" -->")
    assert "--" not in comment
    assert json.loads(comment.removeprefix("xferpipe "))["xferpipe.job"] == STAMP.job


def test_text_outside_of_a_job_stays_as_it_is():
    assert stamped_text("<html></html>\n") == "<html></html>\n"
