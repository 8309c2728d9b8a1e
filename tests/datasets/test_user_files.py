"""Missing folders and files of the user: one error before any job, which names all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xferpipe.config import StudyError, load_study
from xferpipe.datasets.user_files import check_user_files, missing_files

ROOT = Path(__file__).parents[2]
#: A safetensors file with nothing in it: the length of its header, and the header.
NO_TENSORS = (2).to_bytes(8, "little") + b"{}"
_NET = {"architecture": "cifar_resnet8", "weights": "random"}


def study(datasets, *, zoo=None, selection=None, **more):
    return load_study(
        {
            "name": "files",
            "datasets": datasets,
            "targets": {"target": {"dataset": next(iter(datasets))}},
            "zoo": zoo or {"net": _NET},
            "selection": selection or {},
            **more,
        }
    )


PHOTOS = {"reader": "image_folder", "root": "photos/flowers"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_relative_root_is_named_as_written_with_the_folder_it_counts_from(here):
    (line,) = missing_files(study({"photos": PHOTOS}))
    assert line.startswith(
        f"datasets.photos.root: photos/flowers (relative to the working directory {here}): "
        "no such folder; put the folder there"
    )


def test_absolute_root_is_named_alone(here):
    (line,) = missing_files(study({"photos": PHOTOS | {"root": "/nowhere/photos"}}))
    assert line.startswith("datasets.photos.root: /nowhere/photos: no such folder;")
    assert str(here) not in line


def test_all_missing_files_are_in_one_error(here):
    whole = study(
        {
            "listed": {"reader": "table", "path": "t.csv", "root": "images"},
            "photos": PHOTOS,
            "cars": {"reader": "veri776", "root": "VeRi"},
            "cifar": {"reader": "torchvision", "name": "CIFAR10", "root": "cifar"},
        },
        targets={
            **{name: {"dataset": name} for name in ("listed", "photos", "cifar")},
            "cars": {"dataset": "cars", "task": "retrieval"},
        },
        zoo={"own": _NET | {"weights": "file", "name": "own.safetensors"}},
        selection={"own_results": "own.csv"},
    )
    with pytest.raises(StudyError) as error:
        check_user_files(whole)
    for key in (
        "datasets.listed.path: t.csv",
        "datasets.listed.root: images",
        "datasets.photos.root: photos/flowers",
        "datasets.cars.root: VeRi",
        "datasets.cifar.root: cifar",
        "zoo.own.name: own.safetensors",
        "selection.own_results: own.csv",
    ):
        assert key in str(error.value)
    for folder in ("images", "photos/flowers", "VeRi", "cifar"):
        (here / folder).mkdir(parents=True)
    for file in ("t.csv", "own.csv"):
        (here / file).touch()
    (here / "own.safetensors").write_bytes(NO_TENSORS)
    check_user_files(whole)


def test_weights_that_are_none_are_told_as_what_they_are_and_a_folder_is_looked_into(here):
    own = study({"set": {"reader": "digits"}}, zoo={"own": _NET | {"weights": "file", "name": "w"}})
    (here / "w").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (line,) = missing_files(own)
    assert line.startswith(
        "zoo.own.name: w: is a Git LFS pointer and not the weights; run `git lfs"
    )
    (here / "w").unlink()
    (here / "w").mkdir()
    (line,) = missing_files(own)
    assert line.startswith("zoo.own.name: w: expected a folder with one file of weights")
    (here / "w" / "model.safetensors").write_bytes(NO_TENSORS)
    assert missing_files(own) == []


def test_sources_of_pretraining_and_experts_are_checked(here):
    domains = {
        f"of_{name}": _NET | {"weights": "expert", "expert": "both", "source": name}
        for name in ("first", "second")
    }
    recipes = {"pretraining_recipes": {"plain": {}}}
    expert = {"mode": "shared", "sources": ["first", "second"], "recipe": "plain"}
    sources = {name: PHOTOS | {"root": name} for name in ("first", "second", "third")}
    lines = missing_files(
        study(
            {"digits": {"reader": "digits"}, **sources},
            zoo={
                **domains,
                "net": _NET | {"weights": "pretrain", "source": "third", "recipe": "plain"},
            },
            experts={"both": expert | {"images_per_domain": 8}},
            **recipes,
        )
    )
    assert sorted(line.split(": ")[0] for line in lines) == [
        f"datasets.{name}.root" for name in ("first", "second", "third")
    ]


@pytest.mark.parametrize(
    "dataset",
    [
        {"reader": "digits"},
        {"reader": "torchvision", "name": "CIFAR10", "root": "cifar", "download": True},
        {"reader": "torchvision", "name": "FakeData", "root": "nowhere"},
    ],
)
def test_set_without_files_of_the_user_needs_none(dataset):
    assert missing_files(study({"set": dataset})) == []


def test_set_that_nothing_uses_may_be_missing():
    """The smoke form of a published study leaves its real sets in place, which not all have."""
    assert missing_files(study({"digits": {"reader": "digits"}, "photos": PHOTOS})) == []


def test_rendered_set_needs_no_folder():
    content = {"reader": "veri776", "generate": {}}
    targets = {"cars": {"dataset": "cars", "task": "retrieval"}}
    assert missing_files(study({"cars": content}, targets=targets)) == []


def test_path_of_another_kind_is_said(here):
    (here / "photos").mkdir()
    (here / "photos" / "flowers").touch()
    (here / "own.csv").mkdir()
    lines = missing_files(study({"photos": PHOTOS}, selection={"own_results": "own.csv"}))
    assert "is a file, expected a folder" in lines[0]
    assert "is a folder, expected a file" in lines[1]


def test_check_imports_nothing_heavy():
    code = (
        "import sys, xferpipe.datasets.user_files\n"
        "print(sorted({'torch', 'torchvision', 'polars', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_moved_files_keep_every_key(here):
    """What is moved as a whole, or copied, runs nothing: not even the manifest."""
    from PIL import Image

    from xferpipe.graph.environment import environment_of
    from xferpipe.graph.keys import Keys

    for name in ("a/1.png", "b/1.png"):
        (here / "before" / "photos" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(here / "before" / "photos" / name)
    (here / "before" / "own.safetensors").write_bytes(b"weights")
    (here / "before" / "own.csv").write_text("target,model,accuracy\n")

    def keys(base):
        content = study(
            {"photos": PHOTOS | {"root": f"{base}/photos"}},
            zoo={"own": _NET | {"weights": "file", "name": f"{base}/own.safetensors"}},
            selection={"own_results": f"{base}/own.csv"},
        )
        made = Keys(content, environment_of(ROOT, conda=True))
        return [
            made("manifest", "photos").key,
            made("load_weights", "own").key,
            made("features", "target", "full", "own").key,
            made("aggregate").key,
        ]

    before = keys("before")
    (here / "before").rename(here / "after")
    assert keys("after") == keys(here / "after") == before
    (here / "after" / "photos" / "a" / "notes.txt").write_text("x")
    assert keys("after") == before
    (here / "after" / "own.safetensors").write_bytes(b"others")
    changed = [one != other for one, other in zip(keys("after"), before, strict=True)]
    assert changed == [False, True, True, True]
