"""Where a user's files lie is no part of a slice; what a path may be in a study."""

from __future__ import annotations

import json
from functools import partial

import pytest

from xferpipe.config import StudyError, load_study
from xferpipe.config.base import Block, Place
from xferpipe.graph.stages import job_of


def study(base, **changes):
    """A study with every kind of place, all of them below `base`."""
    return {
        "name": "places",
        "datasets": {
            "photos": {"reader": "image_folder", "root": f"{base}/photos"},
            "more": {"reader": "image_folder", "root": f"{base}/more"},
            "listed": {"reader": "table", "path": f"{base}/listed.csv", "root": f"{base}/photos"},
            "cifar": {"reader": "torchvision", "name": "CIFAR10", "root": f"{base}/cifar"},
            "cars": {"reader": "veri776", "root": f"{base}/VeRi"},
        },
        "targets": {
            "photos": {"dataset": "photos"},
            "listed": {"dataset": "listed"},
            "cifar": {"dataset": "cifar"},
            "cars": {"dataset": "cars", "task": "retrieval"},
        },
        "pretraining_recipes": {"plain": {}},
        "zoo": {
            "own": {
                "architecture": "cifar_resnet8",
                "weights": "file",
                "name": f"{base}/own.safetensors",
            },
            **{
                f"of_{source}": {
                    "architecture": "cifar_resnet8",
                    "weights": "expert",
                    "expert": "both",
                    "source": source,
                }
                for source in ("photos", "more")
            },
        },
        "experts": {
            "both": {
                "mode": "shared",
                "sources": ["photos", "more"],
                "recipe": "plain",
                "images_per_domain": 8,
            }
        },
        "selection": {"own_results": f"{base}/own.csv"},
        **changes,
    }


def slices(content):
    jobs = partial(job_of, load_study(content))
    return {
        "manifests": [
            jobs("manifest", name).canonical_json()
            for name in ("photos", "listed", "cifar", "cars")
        ],
        "expert": jobs("expert", "both").canonical_json(),
        "weights": jobs("load_weights", "own").canonical_json(),
        "aggregate": jobs("aggregate").canonical_json(),
        "report": jobs("report").canonical_json(),
    }


def test_slice_of_moved_files_is_the_same():
    assert slices(study("/here")) == slices(study("elsewhere"))


def test_slice_holds_no_place_but_the_job_does():
    assert "here" not in json.dumps(slices(study("/here")))
    jobs = partial(job_of, load_study(study("/here")))
    assert jobs("manifest", "photos").model_dump(mode="json")["dataset"]["root"] == "/here/photos"
    assert jobs("load_weights", "own").model_dump(mode="json")["name"] == "/here/own.safetensors"


def test_slice_tells_a_place_that_is_given_from_none():
    without = slices(study("/here", selection={}))
    assert without["aggregate"] != slices(study("/here"))["aggregate"]


def test_slice_of_published_weights_keeps_their_name():
    def loaded(name):
        entry = {"architecture": "resnet50", "weights": "torchvision", "name": name}
        content = study("/here", experts={}, zoo={"net": entry})
        return job_of(load_study(content), "load_weights", "net").canonical_json()

    assert loaded("IMAGENET1K_V1") != loaded("IMAGENET1K_V2")


def test_canonical_json_leaves_places_out_at_any_depth():
    class Inner(Block):
        place: Place | None
        value: int

    class Outer(Block):
        by_name: dict[str, tuple[Inner, ...]]

    outer = Outer(by_name={"a": (Inner(place="x", value=1), Inner(place=None, value=2))})
    assert outer.canonical_json() == '{"by_name":{"a":[{"value":1},{"place":null,"value":2}]}}'


@pytest.mark.parametrize("path", ["~/photos", "~", "$HOME/photos", "${HOME}/photos", "a/$HOME/b"])
@pytest.mark.parametrize("kind", ["root", "weights", "own_results"])
def test_path_for_a_shell_is_refused_with_the_path_to_write(path, kind, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    content = study("/here")
    if kind == "root":
        content["datasets"]["photos"]["root"] = path
    elif kind == "weights":
        content["zoo"]["own"]["name"] = path
    else:
        content["selection"]["own_results"] = path
    with pytest.raises(StudyError, match="are not expanded") as error:
        load_study(content)
    expanded = path.replace("${HOME}", "$HOME").replace("$HOME", "/home/me")
    assert f"write {expanded.replace('~', '/home/me')}, or" in str(error.value)


def test_path_with_an_unknown_variable_is_refused_too(monkeypatch):
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    content = study("/here", selection={"own_results": "$NOWHERE_SET/own.csv"})
    with pytest.raises(StudyError, match=r"own_results: .*write the path in full"):
        load_study(content)


@pytest.mark.parametrize(
    "path", ["a~b", "~nobody_of_this_name", "price in $", "$(touch x)/a", "a$b"]
)
def test_path_that_a_shell_would_leave_alone_is_a_path(path):
    content = study("/here", selection={"own_results": path})
    assert str(load_study(content).selection.own_results) == path
