"""A query that finds itself: told, left out or counted, against rankings written out by hand."""

import json

import numpy
import polars
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.by_hand import ap_by_hand
from tests.retrieval.test_retrieve_command import command, write_npy, write_parquet

from xferpipe.retrieval import evaluate
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.own_images import SelfMatchError, own_images, settled, without

SIZE = 40


@pytest.fixture
def one_set():
    random = numpy.random.default_rng(3)
    identity = numpy.repeat(numpy.arange(10), 4)
    return {
        "feature": random.normal(size=(10, 5))[identity] + random.normal(size=(SIZE, 5)),
        "identity": identity,
        "camera": numpy.tile([0, 0, 1, 2], 10),
    }


def leave_one_out(columns, *, cameras=True):
    groups = columns["camera"] if cameras else [None] * SIZE
    return numpy.mean(ap_by_hand(columns["feature"], columns["identity"], groups))


@pytest.mark.parametrize("kind", ["array", "tensor", "map"])
def test_evaluate_one_set_as_both_sides_is_refused_and_left_out(kind, one_set, tmp_path):
    features, identity = one_set["feature"], one_set["identity"]
    if kind == "tensor":
        features = torch.from_numpy(features)
    if kind == "map":
        numpy.save(tmp_path / "set.npy", features)
        features = numpy.load(tmp_path / "set.npy", mmap_mode="r")
    labels = (identity, identity)
    with pytest.raises(SelfMatchError, match="40 of 40 queries find themselves"):
        evaluate(features, features, *labels)
    found = evaluate(features, features, *labels, leave_self_out=True)
    assert found["map"] == pytest.approx(leave_one_out(one_set, cameras=False))
    assert found["junk_rule"] == "none"
    assert evaluate(features, features, *labels, leave_self_out=False)["rank1"] == 1.0


def test_evaluate_camera_rule_takes_the_query_itself_out(one_set):
    labels = [one_set[name] for name in ("identity", "identity", "camera", "camera")]
    found = evaluate(one_set["feature"], one_set["feature"], *labels)
    assert found["map"] == pytest.approx(leave_one_out(one_set))
    again = evaluate(one_set["feature"], one_set["feature"], *labels, leave_self_out=True)
    assert again == found


def test_evaluate_query_among_others_in_another_order_is_found(one_set):
    """Some queries lie somewhere in the gallery: float32 on one side, float64 on the other."""
    random = numpy.random.default_rng(4)
    features = one_set["feature"].astype(numpy.float32)
    order = random.permutation(SIZE)[:30]
    identity = one_set["identity"]
    arguments = (features[:12], features[order].astype(float), identity[:12], identity[order])
    own = numpy.isin(numpy.arange(12), order)
    with pytest.raises(SelfMatchError, match=f"{own.sum()} of 12 queries"):
        evaluate(*arguments)
    asked, found = own_images(*arguments[:2], Labels.of(*arguments[2:]))
    assert asked.tolist() == numpy.flatnonzero(own).tolist()
    assert (order[found] == asked).all()


def test_evaluate_vectors_that_all_share_tell_nothing():
    """A model that says the same of every image is no query that finds itself."""
    identity = numpy.arange(6) % 3
    features = numpy.ones((6, 4))
    assert evaluate(features[:3], features, identity[:3], identity)["queries"] == 3
    # The same rows on both sides are one set, whatever they hold.
    with pytest.raises(SelfMatchError, match="6 of 6"):
        evaluate(features, features, identity, identity)


def test_evaluate_equal_vectors_within_one_set_stay_images(one_set):
    """Two photographs of one vector: each query leaves itself out and not its twin."""
    features = one_set["feature"].copy()
    features[1::4] = features[::4]
    identity = one_set["identity"]
    found = evaluate(features, features, identity, identity, leave_self_out=True)
    assert found["map"] == pytest.approx(
        leave_one_out(one_set | {"feature": features}, cameras=False)
    )


UNIT = [[1.0, 0.0], [0.0, 1.0]]


def pairs_of(query, gallery, asked, answered, *, cameras=(), paths=None, **options):
    labels = Labels.of(asked, answered, *cameras)
    query, gallery = torch.tensor(query), torch.tensor(gallery)
    if paths is not None:
        paths = tuple(polars.Series(side, dtype=polars.String) for side in paths)
    found = own_images(query, gallery, labels, paths, **options)
    return list(zip(*(side.tolist() for side in found), strict=True))


def test_equal_vectors_of_one_identity_are_one_image_and_of_two_are_not():
    assert pairs_of(UNIT, UNIT[::-1], [1, 2], [2, 1]) == [(0, 1), (1, 0)]
    assert pairs_of(UNIT, UNIT[::-1], [1, 2], [1, 2]) == []
    # Zero has two forms in floating-point numbers.
    assert pairs_of(UNIT, [[1.0, -0.0]], [1, 2], [1]) == [(0, 0)]


def test_vector_that_another_identity_has_is_no_proof_and_the_pixels_are():
    flat, labels = [[0.5, 0.5]] * 2, ([1, 2], [1, 2])
    different = numpy.array([True, False])
    assert pairs_of(flat, [*flat, UNIT[0]], labels[0], [1, 2, 1]) == []
    assert pairs_of(flat, flat, *labels, same_pixels=lambda *_: ~different) == [(1, 1)]
    assert pairs_of(flat, flat, *labels, same_pixels=lambda *_: different) == [(0, 0)]


def test_near_vectors_are_one_image_where_the_pixels_are():
    near, asked = [[1.0, 1e-6], [1.0, 2e-3]], []

    def same_pixels(query, gallery):
        asked.extend(zip(query.tolist(), gallery.tolist(), strict=True))
        return numpy.ones(len(query), dtype=bool)

    assert pairs_of(UNIT, near, [1, 2], [1, 1], same_pixels=same_pixels) == [(0, 0)]
    assert asked == [(0, 0)]  # The other is too far to look at.
    assert pairs_of(UNIT, near, [1, 2], [1, 1]) == []


def test_one_path_is_one_image_whatever_the_features_and_no_path_is_none():
    paths = ["a.jpg", None], ["a.jpg", None]
    assert pairs_of(UNIT, UNIT[::-1], [1, 2], [1, 2], paths=paths) == [(0, 0)]


def test_junk_is_no_hit_and_so_no_self_match():
    assert pairs_of(UNIT, UNIT, [1, 2], [1, 2], cameras=([7, 7], [7, 8])) == [(1, 1)]


@settings(max_examples=60)
@given(st.data())
def test_own_images_of_few_vectors_are_those_of_a_loop_over_all_pairs(data):
    """Vectors from a handful, so that identities share some of them."""
    random = numpy.random.default_rng(data.draw(st.integers(0, 999)))
    queries, rows = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
    kinds = random.normal(size=(4, 3)).astype(numpy.float32)
    query, gallery = random.integers(0, 4, queries), random.integers(0, 4, rows)
    if numpy.array_equal(query, gallery):
        return  # One set: row and row are one image.
    labels = Labels.of(*(random.integers(0, 3, size) for size in (queries, rows)))
    expected = [
        (one, row)
        for one in range(queries)
        for row in range(rows)
        if query[one] == gallery[row]
        and labels.query_identity[one] == labels.gallery_identity[row]
        and not any(
            gallery[other] == query[one]
            and labels.gallery_identity[other] != labels.query_identity[one]
            for other in range(rows)
        )
    ]
    found = own_images(kinds[query], kinds[gallery].astype(float), labels)
    assert list(zip(*(side.tolist() for side in found), strict=True)) == expected


def test_refusal_says_what_to_do_in_the_words_of_who_ranks():
    labels = Labels.of([1, 2], [1, 2, 2])
    paths = polars.Series(["a.jpg", "b.jpg"]), polars.Series(["a.jpg", "c.jpg", "b.jpg"])
    arguments = (numpy.array(UNIT), numpy.array([*UNIT, UNIT[1]]), labels)
    with pytest.raises(SelfMatchError, match=r"2 of 2 queries .* \(a\.jpg\); .*\. Do this$"):
        settled(*arguments, paths=paths, cure="Do this")
    assert settled(*arguments, paths=paths, leave_self_out=False) is labels


@settings(max_examples=60)
@given(st.data())
def test_without_makes_exactly_these_pairs_junk(data):
    random = numpy.random.default_rng(data.draw(st.integers(0, 999)))
    queries, rows = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
    rule = data.draw(st.sampled_from(["none", "same_camera", "same_sequence", "index_lists"]))
    identities = random.integers(0, 3, queries), random.integers(0, 3, rows)
    groups = random.integers(0, 2, queries), random.integers(0, 2, rows)
    names = ("query_camera", "gallery_camera")
    if rule == "same_sequence":
        names = ("query_sequence", "gallery_sequence")
    given_ = dict(zip(names, groups, strict=True))
    if rule == "index_lists":
        kinds = random.integers(0, 3, (queries, rows))
        given_ = {
            name: [numpy.flatnonzero(row == kind) for row in kinds]
            for kind, name in enumerate(("positives", "junk"))
        }
    labels = Labels.of(*identities, junk_rule=rule, **given_)
    expected = {}  # (query, row) -> is junk, as the rule says
    for query in range(queries):
        for row in range(rows):
            if rule == "index_lists":
                if kinds[query, row] < 2:
                    expected[query, row] = bool(kinds[query, row])
            elif identities[0][query] == identities[1][row]:
                expected[query, row] = rule != "none" and groups[0][query] == groups[1][row]
    asked, found, junk = labels.pairs()
    assert dict(zip(zip(asked, found, strict=True), junk, strict=True)) == expected
    assert list(zip(asked, found, strict=True)) == sorted(expected)
    chosen = random.random(len(asked)) < 0.4
    changed = without(labels, asked[chosen], found[chosen])
    expected |= dict.fromkeys(zip(asked[chosen], found[chosen], strict=True), True)
    asked, found, junk = changed.pairs()
    assert dict(zip(zip(asked, found, strict=True), junk, strict=True)) == expected
    for query in range(queries):
        own = [is_junk for (one, _), is_junk in expected.items() if one == query]
        assert changed.counts()[0][query] == own.count(False)
        assert changed.counts()[1][query] == own.count(True)


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_retrieve_one_file_as_both_sides_is_refused_with_the_options_there_are(
    kind, one_set, tmp_path
):
    del one_set["camera"]
    if kind == "parquet":
        path = write_parquet(tmp_path / "set.parquet", one_set, polars.List(polars.Float64))
    else:
        path = write_npy(tmp_path / "set.npy", one_set)
    words = ("--query", path, "--gallery", path, "--json")
    result = command(*words)
    assert result.exit_code == 2
    assert "40 of 40 queries find themselves" in result.stderr
    assert "--leave-self-out" in result.stderr
    assert "--keep-self" in result.stderr
    found = json.loads(command(*words, "--leave-self-out").stdout)
    assert found["map"] == pytest.approx(leave_one_out(one_set, cameras=False), abs=1e-9)
    assert found["junk_rule"] == "none"
    assert json.loads(command(*words, "--keep-self").stdout)["rank1"] == 1.0


def test_retrieve_query_is_known_by_its_path_whatever_its_features(one_set, tmp_path):
    """Features of a second pass, of mirrored images say, have other bits."""
    del one_set["camera"]
    one_set["path"] = [f"{row}.jpg" for row in range(SIZE)]
    gallery = write_parquet(tmp_path / "gallery.parquet", one_set)
    one_set["feature"] = one_set["feature"] * 1.001
    query = write_parquet(tmp_path / "query.parquet", one_set)
    words = ("--query", query, "--gallery", gallery, "--json")
    result = command(*words)
    assert result.exit_code == 2
    assert "query row 0 is gallery row 0 (0.jpg)" in result.stderr
    output = tmp_path / "out"
    assert command(*words, "--leave-self-out", "--output", output).exit_code == 0
    lists = polars.read_parquet(output / "ranked_lists.parquet")
    assert (lists["junk"] == (lists["query"] == lists["gallery"])).all()


def test_retrieve_only_the_query_itself_in_the_gallery_says_so(one_set, tmp_path):
    del one_set["camera"]
    one_set["identity"] = numpy.arange(SIZE)
    path = write_parquet(tmp_path / "set.parquet", one_set)
    result = command("--query", path, "--gallery", path, "--leave-self-out")
    assert result.exit_code == 2
    assert "or are the queries themselves" in result.stderr
