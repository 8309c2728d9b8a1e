"""`xferpipe zoo list`."""

from __future__ import annotations

import json

import pytest
import yaml

from xferpipe.cli import DONE, WRONG_INPUT, main
from xferpipe.cli.named_models import PACKAGES
from xferpipe.config import cached_weights, load_study
from xferpipe.config.catalogue import listed

STUDY = """\
# Mine.
name: mine
datasets:
  digits: {reader: digits, image_px: 32}
targets:
  digits: {dataset: digits}
zoo:
  # The first.
  drawn: {architecture: cifar_resnet8, weights: random}  # behind it
# The last line.
"""


@pytest.fixture
def call(capsys):
    def called(*words, code=DONE):
        with pytest.raises(SystemExit) as left:
            main(["zoo", "list", *words])
        shown = capsys.readouterr()
        assert left.value.code == code, shown.err
        return shown

    return called


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    return file


def test_models_are_listed_by_the_words_of_init(call):
    lines = call("vit_small_patch14_dinov2").out.splitlines()
    assert lines[0].split() == ["model", "parameters", "side", "data", "licence", "cached"]
    assert lines[1].split() == [
        *("timm:vit_small_patch14_dinov2.lvd142m", "22.1M", "518+", "LVD-142M"),
        *("apache-2.0", "no"),
    ]


def test_models_of_packages_are_listed_and_written_by_their_word(call, path):
    found = json.loads(call("efficientnet_lite", "--weights", "cached", "--json").out)
    packages = [row for row in found if row["model"] in PACKAGES]
    assert [row["licence"] for row in packages] == ["Apache 2.0"] * 3
    assert [row["data"] for row in packages] == ["ImageNet-1k"] * 3
    (row,) = json.loads(call("efficientnet_lite2", "--json").out)[:1]
    assert row["model"] == "efficientnet_lite2"
    assert row["parameters"] == listed("timm:tf_efficientnet_lite2").parameters
    call("efficientnet_lite1", "--write", str(path))
    assert load_study(path).zoo["lite1_imagenet"].name == PACKAGES["efficientnet_lite1"]


def test_only_those_that_fit_are_listed(call):
    found = json.loads(call("clip", "--max-params", "90M", "--licence", "mit", "--json").out)
    assert found
    for row in found:
        assert "clip" in row["model"]
        assert row["parameters"] <= 90e6
        assert "mit" in row["licence"]
    unknown = json.loads(call("resnet50", "--licence", "unknown", "--json").out)
    assert {row["licence"] for row in unknown} == {None}
    assert "resnet50" in [row["model"] for row in unknown]
    read = json.loads(call("--data", "lvd", "--json").out)
    assert {"LVD-142M"} == {row["data"] for row in read}


def test_many_are_cut_and_all_are_shown_where_asked(call):
    shown = call("resnet")
    assert len(shown.out.splitlines()) == 41
    assert "more; --all lists them" in shown.err
    assert len(call("resnet", "--all").out.splitlines()) > 100


def test_cached_ones_need_no_download(call, tmp_path, monkeypatch):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    cached_weights._names.cache_clear()
    found = json.loads(call("--weights", "cached", "--json").out)
    cached_weights._names.cache_clear()
    assert [row["model"] for row in found if row["model"] not in PACKAGES] == ["resnet18"]


def test_models_are_written_into_a_study_beside_what_is_there(call, path):
    words = ("vit_small_patch14_dinov2*", "--write", str(path))
    assert "1 models added, 0 were there" in call(*words).err
    text = path.read_text()
    assert all(line in text.splitlines() for line in STUDY.splitlines())
    assert yaml.safe_load(text)["zoo"]["vit_small_patch14_dinov2.lvd142m"] == {
        "architecture": "timm:vit_small_patch14_dinov2",
        "weights": "timm",
        "name": "lvd142m",
        "licence": "apache-2.0",
    }
    assert set(load_study(path).zoo) == {"drawn", "vit_small_patch14_dinov2.lvd142m"}
    assert "0 models added, 1 were there" in call(*words).err
    assert path.read_text() == text


def test_study_with_another_model_of_the_name_is_left_as_it_is(call, path):
    text = STUDY.replace("drawn:", "resnet18:")
    path.write_text(text)
    shown = call("resnet18", "--data", "ImageNet", "--write", str(path), code=WRONG_INPUT)
    assert "zoo.resnet18 is another model already" in shown.err
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("resnet5O",), "did you mean"),
        (("--max-params", "many"), "--max-params: 'many' is no number; expected one as 30M"),
        (("resnet18", "--write", "none.yaml"), "none.yaml: no such study"),
    ],
)
def test_wrong_input_is_told(call, words, told):
    assert told in call(*words, code=WRONG_INPUT).err
