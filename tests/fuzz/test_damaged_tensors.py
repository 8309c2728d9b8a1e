"""Damaged safetensors files: weights, features and their metadata are read or refused in words.

What is drawn is the same in every run; this draws other cases each time:
pytest --hypothesis-profile fresh tests/fuzz
"""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from xferpipe.config.jobs import ModelSpec
from xferpipe.records import RecordError, read_tensors
from xferpipe.stages.scores import seconds_of, tensors
from xferpipe.zoo.build import build_model
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.weights import WeightsError, load_model, save_weights

SPEC = ModelSpec(architecture="cifar_resnet8", width=4, mean=(0.5,) * 3, std=(0.5,) * 3)
FEATURES = save(
    {"features": torch.ones(4, 3), "rows": torch.arange(4)}, metadata={"seconds": "1.5"}
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(build_model(SPEC, 3, seed=1), path)
    return path.read_bytes()


def read_weights(path):
    load_model(SPEC, path)
    file_weights.load(SPEC, str(path))


def read_features(path):
    tensors(path, features=2, rows=1)


def read_seconds(path):
    seconds_of(path)


def refusal(read, path, content):
    """Return why a file is refused, None where it is read."""
    path.write_bytes(content)
    try:
        read(path)
    except (RecordError, WeightsError) as error:
        found = str(error)
    else:
        return None
    assert str(path) in found
    return found


def with_header(content, **changes):
    """Change entries of a header; None leaves an entry out."""
    length = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + length]) | changes
    header = json.dumps({name: value for name, value in entries.items() if value is not None})
    return len(header).to_bytes(8, "little") + header.encode() + content[8 + length :]


@pytest.mark.parametrize("read", [read_features, read_seconds])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        FEATURES[:7],
        FEATURES[:60],
        FEATURES[:-1],
        FEATURES + b"more",
        b"\xff" * 8 + FEATURES[8:],
        (1 << 40).to_bytes(8, "little") + FEATURES[8:],
        FEATURES[:8] + b"\xff" + FEATURES[9:],
        FEATURES[:8] + b"[" * 60 + FEATURES[68:],
        with_header(FEATURES, rows={"dtype": "I64", "shape": [1 << 40], "data_offsets": [0, 32]}),
        with_header(FEATURES, rows={"dtype": "I64", "shape": [-4], "data_offsets": [0, 32]}),
    ],
)
def test_damaged_features_are_refused_in_words(content, read, tmp_path):
    found = refusal(read, tmp_path / "features.safetensors", content)
    assert "expected a safetensors file" in (found or "read")


@pytest.mark.parametrize("text", ["", "x", "{"])
def test_features_with_seconds_that_are_no_number_are_refused_in_words(text, tmp_path):
    content = with_header(FEATURES, __metadata__={"seconds": text})
    found = refusal(read_seconds, tmp_path / "features.safetensors", content)
    assert f"say {text!r} seconds, expected a number" in (found or "read")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"features": torch.ones(4, 3)}, "'rows' is not there, expected 1 dimensions"),
        ({"features": torch.ones(12), "rows": torch.arange(4)}, "'features' is of shape (12,)"),
    ],
)
def test_features_without_a_tensor_of_the_stage_are_refused_in_words(held, words, tmp_path):
    found = refusal(read_features, tmp_path / "features.safetensors", save(held))
    assert words in (found or "read")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "3", "[" * 5000),
        *('{"outputs": "3"}', '{"outputs": -1}', '{"outputs": null}', '{"outputs": [3]}'),
        *('{"outputs": NaN}', '{"outputs": 1e400}', '{"outputs": 99999999999}'),
        *('{"outputs": 3, "surgery": 5}', '{"outputs": 3, "surgery": {"last_stride": "x"}}'),
        *('{"outputs": 3, "surgery": {"last_stride": []}}', '{"outputs": 3, "surgery": [1]}'),
        '{"outputs": 3, "surgery": {"stem": "small_image"}}',
    ],
)
def test_weights_with_a_damaged_description_are_refused_in_words(text, weights, tmp_path):
    content = with_header(weights, __metadata__={"xferpipe": text})
    found = refusal(read_weights, tmp_path / "weights.safetensors", content)
    assert "its description is damaged" in (found or "read") or "does not fit" in found


def test_features_with_another_description_are_read(tmp_path):
    save_file({"rows": torch.arange(4)}, tmp_path / "a.safetensors", metadata={"xferpipe": "{"})
    held, metadata = read_tensors(tmp_path / "a.safetensors")
    assert held["rows"].tolist() == [0, 1, 2, 3]
    assert metadata == {"xferpipe": "{"}


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), read=st.sampled_from([read_weights, read_features, read_seconds]))
def test_damaged_tensors_are_read_or_refused_in_words(tmp_path, weights, data, read):
    content = bytearray(weights if read is read_weights else FEATURES)
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    refusal(read, tmp_path / "damaged.safetensors", bytes(content[:kept]))
