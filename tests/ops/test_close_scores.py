"""Features that lie close together: the order of float64, whatever float32 products make of it."""

import numpy as np
import pytest
import torch

from xferpipe import ops
from xferpipe.ops import close_scores, inputs
from xferpipe.ops.loading import call


def modes(spread, *, q=40, m=400, d=64, identities=20, seed=0):
    """Two modes of unit length; inside each, identities this far apart and images a fifth of it."""
    random = np.random.default_rng(seed)
    middle = random.normal(size=(2, d))
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    length = spread / np.sqrt(d)
    centres = middle[np.arange(identities) % 2] + length * random.normal(size=(identities, d))
    labels = np.arange(q) % identities, random.permutation(np.arange(m) % identities)
    features = [centres[own] + 0.2 * length * random.normal(size=(len(own), d)) for own in labels]
    return *(torch.from_numpy(one.astype(np.float32)) for one in features), *labels


def exact(query, gallery, distance):
    """Distances without cancellation, in float64."""
    query, gallery = query.double().numpy(), gallery.double().numpy()
    if distance == "cosine":
        query, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
    return ((query[:, None] - gallery[None]) ** 2).sum(-1)


def average_precision(distances, hits, junk):
    found = []
    for row, hit, left_out in zip(distances, hits, junk):
        order = [j for j in np.argsort(row, kind="stable") if not left_out[j]]
        places = [at for at, j in enumerate(order, start=1) if hit[j]]
        found.append(np.mean([(n + 1) / place for n, place in enumerate(places)]))
    return found


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 3e-4, 1e-4])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("thorough", [True, False])
def test_rank_metrics_two_tight_modes_equal_float64(
    backend, spread, distance, thorough, monkeypatch
):
    if not thorough:
        monkeypatch.setattr(close_scores, "THOROUGH", 0)
    query, gallery, query_identity, gallery_identity = modes(spread)
    random = np.random.default_rng(1)
    cameras = random.integers(0, 4, len(query)), random.integers(0, 4, len(gallery))
    same = query_identity[:, None] == gallery_identity[None]
    junk = same & (cameras[0][:, None] == cameras[1][None])
    expected = average_precision(exact(query, gallery, distance), same & ~junk, junk)
    found = ops.rank_metrics(
        *(query, gallery, query_identity, gallery_identity, *cameras), distance=distance
    )
    np.testing.assert_allclose(found.ap.numpy(), expected, atol=1e-12 if thorough else 1e-4)
    if spread <= 1e-3:
        assert found.settled.all()


def test_rank_metrics_tight_modes_are_lost_without_the_second_look(backend, monkeypatch):
    """What the second look is for: float32 alone has another order."""
    data = modes(3e-4)
    expected = ops.rank_metrics(*data, junk_rule="none").ap.mean()
    never = torch.zeros(len(data[0]), dtype=torch.bool)
    monkeypatch.setattr(close_scores, "doubtful", lambda *_: never)
    if backend == "native":
        assert ops.rank_metrics(*data, junk_rule="none").ap.mean() < expected - 0.01


@pytest.mark.parametrize("kind", ["float16", "float64", "mapped", "blocks"])
def test_rank_metrics_tight_modes_of_every_kind_of_matrix(kind, backend, tmp_path):
    query, gallery, *labels = modes(1e-3, d=16)
    if kind == "float64":  # apart by little more than float32 holds
        random = np.random.default_rng(2)
        labels = np.arange(40) % 8, np.arange(400) % 8
        middle = np.ones(16) * np.array([[1.0], [-1.0]])
        centres = middle[np.arange(8) % 2] + 1e-6 * random.normal(size=(8, 16))
        query, gallery = (
            torch.from_numpy(centres[own] + 1e-7 * random.normal(size=(len(own), 16)))
            for own in labels
        )
    if kind == "float16":
        query, gallery = query.half(), gallery.half()
    same = labels[0][:, None] == labels[1][None]
    expected = average_precision(exact(query, gallery, "euclidean"), same, same & False)
    options = {"block_rows": 96} if kind == "blocks" else {}
    if kind == "mapped":
        np.save(tmp_path / "gallery.npy", gallery.numpy())
        gallery = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    found = ops.rank_metrics(query, gallery, *labels, junk_rule="none", **options)
    np.testing.assert_allclose(found.ap.numpy(), expected, atol=1e-9)


def test_rank_metrics_equal_rows_stay_ties_by_row(backend, monkeypatch):
    """Copies of a row have one distance, although the bits of a matrix product may differ."""
    monkeypatch.setattr(close_scores, "_BLOCK_BYTES", 8 * 64 * 256)
    query, gallery, query_identity, _ = modes(1e-4, m=100)
    gallery = gallery[:10].repeat(70, 1)
    gallery_identity = np.arange(700) % 20
    same = query_identity[:, None] == gallery_identity[None]
    distances = exact(query, gallery[:10], "euclidean")[:, np.arange(700) % 10]
    expected = average_precision(distances, same, same & False)
    found = ops.rank_metrics(query, gallery, query_identity, gallery_identity, junk_rule="none")
    assert found.settled.all()
    np.testing.assert_allclose(found.ap.numpy(), expected, atol=1e-12)


def test_rank_metrics_features_that_float32_tells_are_not_ranked_again(backend):
    random = torch.Generator().manual_seed(0)
    centres = torch.eye(32)
    identity = torch.arange(640) % 32
    gallery = centres[identity] + 0.02 * torch.randn((640, 32), generator=random)
    gallery[:, 0] += torch.linspace(0, 2, 640)  # no two rows at nearly one distance
    found = ops.rank_metrics(centres, gallery, torch.arange(32), identity, junk_rule="none")
    assert found.settled.float().mean() < 0.5


@pytest.mark.parametrize("d", [1, 3, 64, 512, 2049])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("likely", [False, True])
def test_bound_holds_for_every_score(d, distance, likely, backend):
    code = inputs.DISTANCES[distance]
    random = torch.Generator().manual_seed(d)
    for shift in (0.0, 30.0):  # all of one sign: rounding errors have the most to add up
        query = torch.randn((50, d), generator=random) + shift
        gallery = torch.randn((300, d), generator=random) + shift
        norms = call("squared_norms", query), call("squared_norms", gallery)
        scores, index = call("nearest_scores", query, gallery, norms[1], 300, code, 0)
        exact_scores = query.double() @ gallery.double().T
        lengths = gallery.double().square().sum(1)
        if distance == "cosine":
            exact_scores /= lengths.sqrt()
        else:
            exact_scores -= lengths / 2
        error = (scores.double() - exact_scores.gather(1, index)).abs().amax(1)
        assert (error <= close_scores.bound(*norms, d, code, likely=likely)).all()
        assert (error > 0).any() or d < 4


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("whole", [False, True])
def test_nearest_two_tight_modes_have_the_lists_of_float64(
    backend, spread, distance, whole, monkeypatch
):
    if whole:
        monkeypatch.setattr(close_scores, "_BLOCK_BYTES", 1)
    query, gallery, *_ = modes(spread)
    _, rows = ops.nearest(query, gallery, 12, distance=distance)
    distances = exact(query, gallery, distance)
    np.testing.assert_array_equal(rows.numpy(), np.argsort(distances, kind="stable")[:, :12])
    blocks = ops.nearest(query, gallery, 12, distance=distance, block_rows=64)[1]
    assert torch.equal(blocks, rows)
    whole_lists = ops.nearest(query, gallery, 400, distance=distance)[1]
    np.testing.assert_array_equal(whole_lists.numpy(), np.argsort(distances, kind="stable"))


def test_nearest_equal_rows_are_listed_by_row(backend):
    query, gallery, *_ = modes(1e-4)
    gallery = gallery[:3].repeat(40, 1)
    _, rows = ops.nearest(query, gallery, 50)
    first = exact(query, gallery[:3], "euclidean").argmin(1)
    expected = first[:, None] + 3 * np.arange(40)
    np.testing.assert_array_equal(rows.numpy()[:, :40], expected)
