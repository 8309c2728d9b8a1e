"""Weights that may go when a race has ended, and those that may never."""

from __future__ import annotations

import json

import numpy
import pytest
from PIL import Image, PngImagePlugin
from safetensors.numpy import save_file
from tests.graph.rounds import PLACE, Written

from xferpipe.graph.prune import losers
from xferpipe.graph.stages import STAGES
from xferpipe.records import empty, write_table
from xferpipe.records.stamp import stamped_text, stamping

DRAWN_SGD, DRAWN_HEAD, TRAINED_SGD = ("drawn", "sgd"), ("drawn", "head"), ("trained", "sgd")
#: How a round of a finished race may end: pairs of the top group, and the one that is named.
ENDS = {"top": [DRAWN_SGD, TRAINED_SGD], "named": TRAINED_SGD}


@pytest.fixture
def study(tiny_study):
    tiny_study["finetunes"] = []
    tiny_study["export"] = {"targets": "none"}
    tiny_study["choose"] = [{"targets": ["digits"], "budget": {"runs": 4}, "keep": "winner"}]
    return tiny_study


def finished(study, folder, place=PLACE, **last):
    """A study whose race has ended; every run has weights."""
    written = Written(study, folder)
    written.race(**last)
    for run in written.study.runs():
        job = ("finetune", *run)
        path = folder / STAGES["finetune"].path(tuple(run), "weights")
        path.parent.mkdir(parents=True)
        with stamping(written.keys(*job).stamp):
            metadata = written.keys(*job).stamp.metadata()
            save_file({"head": numpy.zeros(3, "float32")}, path, metadata)
    return written


def lost(written, study, folder):
    other = Written(study, folder)
    return {(loser.run.model, loser.run.recipe) for loser in losers(other.keys, folder)}


def test_nothing_goes_unless_the_race_says_so(study, tmp_path):
    study["choose"][0]["keep"] = "all"
    assert lost(finished(study, tmp_path, **ENDS), study, tmp_path) == set()


def test_named_pair_keeps_its_weights_and_the_others_may_go(study, tmp_path):
    written = finished(study, tmp_path, **ENDS)
    assert lost(written, study, tmp_path) == {DRAWN_SGD, DRAWN_HEAD}
    assert {loser.size for loser in losers(written.keys, tmp_path)} < set(range(100, 9999))


@pytest.mark.parametrize(("keep", "named"), [("top", TRAINED_SGD), ("winner", None)])
def test_top_group_stays_where_it_is_asked_for_and_where_no_pair_is_named(
    study, tmp_path, keep, named
):
    study["choose"][0]["keep"] = keep
    written = finished(study, tmp_path, top=ENDS["top"], named=named)
    assert lost(written, study, tmp_path) == {DRAWN_HEAD}


def test_all_stay_where_a_race_found_no_best(study, tmp_path):
    assert lost(finished(study, tmp_path), study, tmp_path) == set()


def test_all_stay_while_the_race_goes_on(study, tmp_path):
    finished(study, tmp_path, **ENDS)
    study["choose"][0]["budget"] = {"runs": 5}
    assert lost(None, study, tmp_path) == set()


def test_runs_of_a_grid_stay(study, tmp_path):
    study["finetunes"] = [{"targets": ["digits"], "models": ["drawn"], "recipes": ["sgd"]}]
    assert lost(finished(study, tmp_path, **ENDS), study, tmp_path) == {DRAWN_HEAD}


def test_weights_stay_until_every_job_that_reads_them_is_done(study, tmp_path):
    study["scores"]["methods"].append("rsa")
    study["scores"]["reference"] = {"model": "drawn", "recipe": "head"}
    written = finished(study, tmp_path, **ENDS)
    assert lost(written, study, tmp_path) == {DRAWN_SGD}
    job = ("reference", *PLACE)
    path = tmp_path / STAGES["reference"].path(PLACE, "reference")
    path.parent.mkdir(parents=True)
    save_file({"features": numpy.zeros(3)}, path, written.keys(*job).stamp.metadata())
    assert lost(written, study, tmp_path) == {DRAWN_SGD, DRAWN_HEAD}


def test_weights_stay_until_the_picked_model_is_exported(study, tmp_path):
    study["export"] = {"targets": ["digits"]}
    written = finished(study, tmp_path, **ENDS)
    assert lost(written, study, tmp_path) == set()
    stage, stamp = STAGES["export"], written.keys("export", *PLACE).stamp
    folder = tmp_path / "export" / "/".join(PLACE)
    folder.mkdir(parents=True)
    with stamping(stamp):
        save_file({"a": numpy.zeros(3)}, folder / stage.files["weights"], stamp.metadata())
        (folder / stage.files["configuration"]).write_text(json.dumps(stamp.metadata()))
        assert lost(written, study, tmp_path) == set()
        (folder / stage.files["card"]).write_text(stamped_text("# A model"))
    assert lost(written, study, tmp_path) == {DRAWN_SGD, DRAWN_HEAD}


def test_rankings_that_are_not_done_keep_their_weights(study, tmp_path):
    place = ("vehicles", "full")
    study["choose"][0]["targets"] = ["vehicles"]
    written = Written(study, tmp_path)
    asked = [("drawn", "sgd", 0), ("trained", "sgd", 0)]
    written.write(0, *asked, place=place)
    written.races.follow()
    written.write(1, stopped="spent", place=place, top=[TRAINED_SGD], named=TRAINED_SGD)
    written.races.follow()
    run = (*place, "drawn", "sgd", "0")
    weights = tmp_path / STAGES["finetune"].path(run, "weights")
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    assert losers(written.keys, tmp_path) == []
    stage, stamp = STAGES["retrieval"], written.keys("retrieval", *run).stamp
    with stamping(stamp):
        kept = dict.fromkeys(("query_features", "gallery_features"), "retrieval_features")
        for name, table in {**stage.tables, **kept}.items():
            write_table(table, empty(table), tmp_path / stage.path(run, name))
    assert losers(written.keys, tmp_path) == []
    text = PngImagePlugin.PngInfo()
    for name, value in stamp.metadata().items():
        text.add_text(name, value)
    Image.new("L", (1, 1)).save(tmp_path / stage.path(run, "picture"), pnginfo=text)
    (loser,) = losers(written.keys, tmp_path)
    assert (loser.run, loser.size) == (run, 7)
