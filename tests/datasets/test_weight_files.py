"""Files of weights: told by their bytes as what they are, in words that say what to do."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile

import numpy
import pytest
import torch
from safetensors.torch import save_file

from xferpipe.datasets.weight_files import WeightFileError, fault_of, files_of, form_of

TENSORS = {"a.weight": torch.ones(2, 3), "b.weight": torch.zeros(4)}


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w"])
def test_form_is_of_the_bytes_and_not_of_the_name(tmp_path, name):
    path = tmp_path / name
    torch.save(TENSORS, path)
    assert form_of(path) == "torch"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    assert form_of(path) == "torch"
    save_file(TENSORS, path)
    assert form_of(path) == "safetensors"
    assert fault_of(path) is None


@pytest.mark.parametrize("length", [0x7B, 0x5B, 0x80, 0x011208])
def test_header_whose_length_looks_like_another_file_is_safetensors(tmp_path, length):
    """0x7b is a brace, 0x80 begins a pickle, 08 12 01 a protocol buffer."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    content = header.encode().ljust(length) + b"\0" * 4
    (tmp_path / "w").write_bytes(length.to_bytes(8, "little") + content)
    assert form_of(tmp_path / "w") == "safetensors"


def onnx_model() -> bytes:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["x"])], "g", [value], [value])
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; copy it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "Git LFS pointer and not the weights; run `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><html>not found", "a web page and not the weights"),
        (b"\xef\xbb\xbf<html lang=en>", "a web page and not the weights"),
        (b'<?xml version="1.0"?><Error>', "a web page and not the weights"),
        (b'{"message": "Not Found"}', "is a JSON text"),
        (b"\x89HDF\r\n\x1a\n\0\0", "is an HDF5 file, as Keras and TensorFlow write weights"),
        (b"\x08\x01\x12\x04abcd", "is a TensorFlow SavedModel"),
        (b"\0\0\0\0TFL3", "is a TensorFlow Lite model"),
        (b"any\x57\xfb\x80\x8b\x24\x75\x47\xdb", "is the index of a TensorFlow checkpoint"),
        (gzip.compress(b"weights", mtime=0), "is compressed (gzip); unpack it"),
        (b"\0" * 257 + b"ustar\0" + b"\0" * 250, "is a tar archive; unpack it"),
        (b"weights", "is no file of weights that is known; expected safetensors"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_other_files_are_told_as_what_they_are(tmp_path, content, words):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightFileError) as caught:
        form_of(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "delete" not in str(caught.value)
    assert fault_of(path) == str(caught.value)


def test_onnx_model_is_told(tmp_path):
    (tmp_path / "w.pth").write_bytes(onnx_model())
    assert "is an ONNX model" in fault_of(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("m/constants.pkl", "a TorchScript archive, which holds code; save the state dict"),
        ("model.weights.h5", "is a Keras model"),
        ("notes.txt", "a zip archive without a torch file"),
    ],
)
def test_zip_archives_that_torch_did_not_write_are_told(tmp_path, inside, words):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl" if "constants" in inside else "more.txt", b"")
        archive.writestr(inside, b"x")
    assert words in fault_of(path)


def test_numpy_archive_is_told(tmp_path):
    numpy.savez(tmp_path / "w.npz", a=numpy.ones(3))
    assert "is a NumPy archive (.npz)" in fault_of(tmp_path / "w.npz")
    numpy.save(tmp_path / "w.npy", numpy.ones(3))
    assert "is a NumPy array (.npy)" in fault_of(tmp_path / "w.npy")


@pytest.mark.parametrize("form", ["torch", "safetensors"])
@pytest.mark.parametrize("left", [0.5, 0.98])
def test_truncated_file_is_told_and_to_be_copied_again(tmp_path, form, left):
    path = tmp_path / "w"
    many = {f"a{i}.weight": torch.ones(50) for i in range(9)}
    torch.save(many, path) if form == "torch" else save_file(many, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    assert "is truncated or damaged" in fault_of(path)
    assert "copy it again" in fault_of(path)


def sharded(folder, **changes):
    save_file({"a": torch.ones(1)}, folder / "model-1.safetensors")
    save_file({"b": torch.ones(1)}, folder / "model-2.safetensors")
    content = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}, **changes}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    return folder / "model.safetensors.index.json"


def test_sharded_weights_are_the_index_and_every_shard_by_file_or_folder(tmp_path):
    index = sharded(tmp_path)
    names = [index, tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"]
    assert files_of(index) == files_of(tmp_path) == names
    assert fault_of(tmp_path) is None
    names[2].unlink()
    assert fault_of(tmp_path).startswith(f"{names[2]}: no such file")


@pytest.mark.parametrize(
    "weights", [{}, {"a": "../secret.safetensors"}, {"a": 3}, [], {"a": "sub/x.safetensors"}]
)
def test_index_that_names_no_files_beside_it_is_refused(tmp_path, weights):
    index = sharded(tmp_path, weight_map=weights)
    assert "is no index of sharded weights" in fault_of(index)


def test_folder_is_its_one_file_of_weights(tmp_path):
    assert "found none; name the file" in fault_of(tmp_path)
    save_file(TENSORS, tmp_path / "b.safetensors")
    (tmp_path / "notes.txt").touch()
    assert files_of(tmp_path) == [tmp_path / "b.safetensors"]
    torch.save(TENSORS, tmp_path / "a.pth")
    assert "found a.pth, b.safetensors; name the file" in fault_of(tmp_path)
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert files_of(tmp_path) == [tmp_path / "model.safetensors"]


def test_looking_at_a_file_imports_nothing_heavy():
    code = (
        "import sys, xferpipe.datasets.weight_files\n"
        "print(sorted({'torch', 'polars', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
