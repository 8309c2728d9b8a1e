"""The stage from files to tables, against features and rankings computed by hand."""

import io
import json
import statistics

import numpy
import polars
import pytest
import torch
from PIL import Image
from tests.retrieval.test_retrieve_command import command

from xferpipe.config.datasets import VehicleID
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.recipes import Recipe
from xferpipe.datasets.readers import vehicleid
from xferpipe.records import read_table
from xferpipe.retrieval.picture import JUNK, MATCH, QUERY, WRONG
from xferpipe.zoo.build import build_model, classifier_of
from xferpipe.zoo.weights import load_model, save_weights

SPEC = ModelSpec(architecture="cifar_resnet8", width=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
MEANS = ("rank1", "rank5", "rank10", "rank20", "map", "minp")


def features_by_hand(prepared, reader):
    """Unit features of every image of the packed array, float64, by a plain forward pass."""
    pixels = numpy.load(prepared / f"{reader}.npy") / 255
    mean, std = (numpy.array(v)[:, None, None] for v in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    model = load_model(SPEC, prepared / "weights.safetensors").eval()
    seen = []
    classifier_of(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.from_numpy((pixels - mean) / std).float())
    found = seen[0].double().numpy()
    return found / numpy.linalg.norm(found, axis=1, keepdims=True)


def ranks_by_hand(features, rows, query, gallery):
    """For each query: kept gallery images in order, as (row, match); and how many are junk."""
    identity, camera = rows["identity"].to_list(), rows["camera"].to_list()
    for q in query:
        distances = ((features[q] - features[gallery]) ** 2).sum(1)
        order = [gallery[at] for at in numpy.argsort(distances, kind="stable")]
        junk = {
            g
            for g in order
            if identity[g] == identity[q] and camera[q] is not None and camera[g] == camera[q]
        }
        yield [(g, identity[g] == identity[q]) for g in order if g not in junk], len(junk)


def figures_by_hand(lists):
    first, aps, inps = [], [], []
    for matches in lists:
        places = [place for place, match in enumerate(matches, start=1) if match]
        first.append(places[0])
        aps.append(statistics.fmean((hit + 1) / place for hit, place in enumerate(places)))
        inps.append(len(places) / places[-1])
    return {
        **{f"rank{k}": statistics.fmean(place <= k for place in first) for k in (1, 5, 10, 20)},
        "map": statistics.fmean(aps),
        "minp": statistics.fmean(inps),
    }


@pytest.mark.parametrize("reader", ["veri776", "market1501"])
def test_retrieval_figures_equal_a_ranking_by_hand(reader, run, prepared):
    paths = run(reader)
    rows = read_table("manifest", prepared / f"{reader}.parquet")
    query, gallery = (
        rows.filter(polars.col("split") == split)["row"].to_list() for split in ("query", "gallery")
    )
    features = features_by_hand(prepared, reader)
    by_hand = list(ranks_by_hand(features, rows, query, gallery))
    (row,) = read_table("retrieval", paths["retrieval"]).to_dicts()
    expected = figures_by_hand([[match for _, match in kept] for kept, _ in by_hand])
    assert {name: row[name] for name in MEANS} == pytest.approx(expected)
    assert (row["queries"], row["queries_without_positive"]) == (15, 0)
    assert row["gallery"] == len(gallery)
    assert row["junk_rule"] == "same_camera"
    assert (row["draws"], row["rank1_deviation"]) == (1, None)
    asked = read_table("retrieval_queries", paths["queries"])
    assert asked["query"].to_list() == query
    assert asked["junk"].to_list() == [junk for _, junk in by_hand]
    assert asked["positives"].to_list() == [4] * 15


def test_retrieval_ranked_lists_agree_with_the_queries(run):
    """The first hit of a list, junk not counted, is the first hit of the query's row."""
    paths = run(ranked_list_length=30)
    lists = read_table("ranked_lists", paths["ranked_lists"])
    asked = read_table("retrieval_queries", paths["queries"])
    assert len(lists) == 15 * 30
    for row in asked.iter_rows(named=True):
        own = lists.filter(polars.col("query") == row["query"]).sort("rank")
        assert own["rank"].to_list() == list(range(1, 31))
        assert own["distance"].is_sorted()
        assert own["junk"].sum() == row["junk"] == 2
        # A query is a copy of a gallery image of its own camera: junk, at the very front.
        assert own["distance"][0] == pytest.approx(0, abs=1e-3)
        assert own["junk"][0]
        kept = own.filter(~polars.col("junk"))["match"].to_list()
        assert kept.index(True) + 1 == row["first_hit"]
    assert lists["path"].str.starts_with("image_test/").all()


def test_retrieval_index_lists_give_the_figures_of_the_camera_rule(run):
    rows = [
        read_table("retrieval", run(junk_rule=rule)["retrieval"]).to_dicts()[0]
        for rule in ("same_camera", "index_lists")
    ]
    assert [row["junk_rule"] for row in rows] == ["same_camera", "index_lists"]
    assert all(rows[0][name] == rows[1][name] for name in MEANS)


def test_retrieval_without_junk_rule_a_query_that_finds_its_copy_is_refused(run):
    with pytest.raises(ValueError, match=r"15 of 15 queries find .*retrieval.leave_self_out"):
        run(junk_rule="none")


def test_retrieval_leave_self_out_is_a_ranking_without_the_copy_by_hand(run, prepared):
    """All else of the query's camera stays, and counts as right."""
    paths = run(junk_rule="none", leave_self_out=True)
    rows = read_table("manifest", prepared / "veri776.parquet")
    pixels = numpy.load(prepared / "veri776.npy")
    query, gallery = (rows.filter(split=split)["row"].to_list() for split in ("query", "gallery"))
    features, identity = features_by_hand(prepared, "veri776"), rows["identity"].to_list()
    lists = []
    for q in query:
        others = [g for g in gallery if not (pixels[g] == pixels[q]).all()]
        assert len(others) == len(gallery) - 1
        distances = ((features[q] - features[others]) ** 2).sum(1)
        order = numpy.argsort(distances, kind="stable")
        lists.append([identity[others[at]] == identity[q] for at in order])
    (row,) = read_table("retrieval", paths["retrieval"]).to_dicts()
    assert {name: row[name] for name in MEANS} == pytest.approx(figures_by_hand(lists))
    assert row["junk_rule"] == "none"
    asked = read_table("retrieval_queries", paths["queries"])
    assert asked["junk"].to_list() == [1] * 15
    assert asked["positives"].to_list() == [5] * 15


def test_retrieval_sequences_no_image_has_say_what_is_missing(run):
    with pytest.raises(ValueError, match="same_sequence, which needs query_sequence"):
        run(junk_rule="same_sequence")


def test_retrieval_vehicleid_averages_its_galleries_with_their_spread(run, prepared):
    paths = run("vehicleid")
    rows = read_table("manifest", prepared / "vehicleid.parquet")
    features = features_by_hand(prepared, "vehicleid")
    dataset = VehicleID(root=prepared, test_list=5)
    each = []
    for query, gallery in vehicleid.galleries(dataset, rows, seed=0):
        lists = ranks_by_hand(features, rows, query.tolist(), gallery.tolist())
        each.append(figures_by_hand([[match for _, match in kept] for kept, _ in lists]))
    (row,) = read_table("retrieval", paths["retrieval"]).to_dicts()
    assert row["draws"] == len(each) == 10
    assert row["junk_rule"] == "none"
    for name in MEANS:
        assert row[name] == pytest.approx(statistics.fmean(own[name] for own in each))
    for name in ("rank1", "rank5", "map", "minp"):
        spread = statistics.stdev(own[name] for own in each)
        assert row[f"{name}_deviation"] == pytest.approx(spread)
    assert row["rank1_deviation"] > 0
    asked = read_table("retrieval_queries", paths["queries"])
    assert asked["draw"].unique().sort().to_list() == list(range(10))
    assert read_table("camera_pairs", paths["camera_pairs"]).is_empty()


def test_retrieval_twice_and_from_files_gives_the_same_tables(run):
    def tables(**options):
        paths = run(**options)
        names = {"retrieval": "retrieval", "queries": "retrieval_queries"}
        found = {name: read_table(table, paths[name]) for name, table in names.items()}
        found["retrieval"] = found["retrieval"].drop("seconds")
        return found | {"lists": read_table("ranked_lists", paths["ranked_lists"])}

    first = tables()
    for other in (tables(), tables(packed=False)):
        assert all(first[name].equals(other[name]) for name in first)


def test_retrieval_diverged_weights_give_null_figures_and_a_reason(run, tmp_path):
    model = build_model(SPEC, 3)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    save_weights(model, tmp_path / "nan.safetensors")
    paths = run(weights=tmp_path / "nan.safetensors")
    (row,) = read_table("retrieval", paths["retrieval"]).to_dicts()
    assert "diverged" in row["reason"]
    assert [row[name] for name in MEANS] == [None] * 6
    assert read_table("retrieval_queries", paths["queries"]).is_empty()
    assert Image.open(paths["picture"]).size[0] > 100


def test_retrieval_recipe_sizes_of_evaluation_are_used(run):
    """A model is embedded as it was validated: here at half the side."""
    plain = read_table("ranked_lists", run()["ranked_lists"])
    small = run(recipe=Recipe(val_resize_size=8, val_crop_size=8))
    assert not plain["distance"].equals(
        read_table("ranked_lists", small["ranked_lists"])["distance"]
    )


def test_retrieval_examples_are_the_worst_median_and_best(run):
    paths = run(example_queries=2)
    asked = read_table("retrieval_queries", paths["queries"])
    shown = asked.filter(polars.col("example").is_not_null())
    assert dict(shown.group_by("example").len().iter_rows()) == {"worst": 2, "median": 2, "best": 2}
    ap = {name: shown.filter(polars.col("example") == name)["ap"] for name in ("worst", "best")}
    rest = asked.filter(polars.col("example").is_null())["ap"]
    assert ap["worst"].max() <= rest.min() <= rest.max() <= ap["best"].min()
    assert Image.open(io.BytesIO(shown["thumbnail"][0])).size == (16, 16)
    lists = read_table("ranked_lists", paths["ranked_lists"])
    pictured = lists.filter(polars.col("thumbnail").is_not_null())["query"].unique().sort()
    assert pictured.to_list() == shown["query"].sort().to_list()


def test_retrieval_picture_frames_say_match_wrong_and_junk(run):
    paths = run(example_queries=1, ranked_list_length=4)
    asked = read_table("retrieval_queries", paths["queries"])
    lists = read_table("ranked_lists", paths["ranked_lists"])
    picture = Image.open(paths["picture"]).convert("RGB")
    shown = asked.filter(polars.col("example").is_not_null()).sort("ap", descending=True)
    assert picture.size == (150 + 5 * 112, 3 * 112)
    for line, query in enumerate(shown["query"]):
        frames = [QUERY]
        for row in lists.filter(polars.col("query") == query).sort("rank").iter_rows(named=True):
            frames.append(JUNK if row["junk"] else MATCH if row["match"] else WRONG)
        for place, frame in enumerate(frames):
            pixel = picture.getpixel((150 + place * 112 + 2, line * 112 + 2))
            assert "#{:02x}{:02x}{:02x}".format(*pixel) == frame


def test_retrieval_camera_pairs_are_rankings_of_one_camera_each(run, prepared):
    paths = run()
    pairs = read_table("camera_pairs", paths["camera_pairs"])
    # Two images of a vehicle by each of three cameras; those of its own camera are junk.
    expected = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b]
    assert pairs.select("query_camera", "gallery_camera").rows() == expected
    rows = read_table("manifest", prepared / "veri776.parquet")
    features = features_by_hand(prepared, "veri776")
    for pair in pairs.iter_rows(named=True):
        query, gallery = (
            rows.filter((polars.col("split") == split) & (polars.col("camera") == camera))
            for split, camera in (
                ("query", pair["query_camera"]),
                ("gallery", pair["gallery_camera"]),
            )
        )
        lists = ranks_by_hand(features, rows, query["row"].to_list(), gallery["row"].to_list())
        by_hand = figures_by_hand([[match for _, match in kept] for kept, _ in lists])
        assert (pair["rank1"], pair["map"]) == pytest.approx((by_hand["rank1"], by_hand["map"]))
        assert (pair["queries"], pair["gallery"]) == (5, 10)


def ranked_again(paths, *options):
    """Hand the files that the stage kept to `xferpipe retrieve`."""
    files = ("--query", paths["query_features"], "--gallery", paths["gallery_features"])
    result = command(*files, *options, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_retrieval_kept_features_give_the_same_figures_by_the_command(distance, run):
    paths = run(keep_features=True, distance=distance, normalised=True)
    (row,) = read_table("retrieval", paths["retrieval"]).to_dicts()
    found = ranked_again(paths, "--normalised", "--distance", distance)
    assert {name: found[name] for name in MEANS} == {name: row[name] for name in MEANS}
    assert found["junk_rule"] == row["junk_rule"] == "same_camera"
    assert (found["queries"], found["gallery"]) == (row["queries"], row["gallery"])


def test_retrieval_kept_features_are_those_of_a_plain_pass_by_image(run, prepared):
    paths = run("market1501", keep_features=True)
    rows = read_table("manifest", prepared / "market1501.parquet")
    by_hand = features_by_hand(prepared, "market1501")
    for split in ("query", "gallery"):
        kept = read_table("retrieval_features", paths[f"{split}_features"])
        labels = ("row", "path", "split", "identity", "camera", "sequence")
        assert kept.select(labels).equals(rows.filter(split=split).select(labels))
        found = numpy.stack(kept["feature"].to_list())
        length = numpy.linalg.norm(found, axis=1, keepdims=True)
        assert found / length == pytest.approx(by_hand[kept["row"].to_numpy()], abs=1e-5)
        assert not numpy.allclose(length, 1)  # As they are, and not scaled to unit length.


def test_retrieval_features_are_kept_only_where_the_study_asks(run):
    paths = run()
    for split in ("query", "gallery"):
        assert read_table("retrieval_features", paths[f"{split}_features"]).is_empty()
