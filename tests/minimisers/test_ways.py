import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from xferpipe.config.minimisers import Paths
from xferpipe.minimisers.probe_images import error_and_loss
from xferpipe.minimisers.search import bezier_control, low_loss_way
from xferpipe.minimisers.solution import refresh_batch_norm, state_of
from xferpipe.minimisers.ways import PathPoint, along, barrier, bezier, straight


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def two(make_network):
    return make_network(0), make_network(1)


def test_straight_way_ends_are_the_solutions_bit_for_bit(two):
    a, b = map(state_of, two)
    way = straight(a, b)
    assert equal(way(0.0), a)
    assert equal(way(1.0), b)
    middle = way(0.5)["0.weight"]
    torch.testing.assert_close(middle, (a["0.weight"] + b["0.weight"]) / 2)


def test_bezier_equals_its_polynomial_and_ends_at_the_solutions(two):
    a, b = map(state_of, two)
    control = {name: torch.randn_like(p) for name, p in two[0].named_parameters()}
    way = bezier(a, control, b)
    assert equal(way(0.0), a)
    assert equal(way(1.0), b)
    for t in (0.2, 0.7):
        for name, middle in control.items():
            by_hand = (1 - t) ** 2 * a[name] + 2 * t * (1 - t) * middle + t**2 * b[name]
            torch.testing.assert_close(way(t)[name], by_hand)


@pytest.mark.parametrize("refreshed", [False, True])
def test_path_ends_equal_the_solutions_own_figures(two, make_images, refreshed):
    images = make_images()
    model, before = two[0], state_of(two[0])
    points = along(
        model,
        straight(*map(state_of, two)),
        lambda m: error_and_loss(m, images),
        points=5,
        refresh=(lambda m: refresh_batch_norm(m, images)) if refreshed else None,
    )
    own = [point for point in points if not point.refreshed]
    assert (own[0].t, own[-1].t) == (0, 1)
    for point, solution in ((own[0], two[0]), (own[-1], two[1])):
        assert point.figures == error_and_loss(solution, images)
    assert len(points) == (7 if refreshed else 5)
    assert equal(before, state_of(model))


def test_refreshed_path_end_equals_the_solution_refreshed(two, make_images):
    images = make_images()
    points = along(
        two[0],
        straight(*map(state_of, two)),
        lambda m: error_and_loss(m, images),
        points=3,
        refresh=lambda m: refresh_batch_norm(m, images),
    )
    refresh_batch_norm(two[1], images)
    last = points[-1]
    assert last.refreshed
    assert last.figures == error_and_loss(two[1], images)


def test_barrier_is_the_highest_rise_over_the_line_of_the_ends():
    points = [
        PathPoint(t, False, {"error": 0.0, "loss": loss})
        for t, loss in ((0, 1.0), (0.5, 4.0), (1, 3.0))
    ]
    assert barrier(points, "loss") == pytest.approx(2.0)
    assert barrier(points, "error") == 0
    valley = [
        PathPoint(t, False, {"error": 0.0, "loss": loss})
        for t, loss in ((0, 1.0), (0.5, 0.1), (1, 3.0))
    ]
    assert barrier(valley, "loss") == 0


def test_barrier_of_refreshed_points_ignores_the_others():
    points = [PathPoint(0.0, False, {"loss": -9.0})]
    points += [PathPoint(t, True, {"loss": loss}) for t, loss in ((0, 1.0), (0.5, 2.0), (1, 1.0))]
    assert barrier(points, "loss") == pytest.approx(1.0)


class Ring(nn.Module):
    """Two weights whose loss is 0 on a circle and high inside it: the line has a barrier."""

    def __init__(self, x: float, y: float):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([x, y], dtype=torch.float64))

    def forward(self, pixels):
        score = 4 * (1 - (self.place.square().sum() - 1) ** 2)
        return torch.stack([score, -score]).expand(len(pixels), 2)


def ring_measure(model):
    loss = functional.cross_entropy(model(torch.zeros(1, 1)), torch.tensor([0]))
    return {"error": 0.0, "loss": loss.item()}


def ring_batches():
    return itertools.repeat((torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)))


def test_bezier_search_goes_round_a_barrier_that_the_line_hits():
    start, end = state_of(Ring(1.0, 0.1)), state_of(Ring(-1.0, 0.1))
    model = Ring(0.3, 0.3)
    search = Paths(steps=400, lr=0.05)
    control = bezier_control(model, start, end, ring_batches(), search, seed=0)
    line = along(model, straight(start, end), ring_measure, points=21, refresh=None)
    curve = along(model, bezier(start, control, end), ring_measure, points=21, refresh=None)
    assert barrier(line, "loss") > 0.5
    assert barrier(curve, "loss") < 0.1 * barrier(line, "loss")
    assert model.place.tolist() == [0.3, 0.3]


def test_low_loss_way_starts_at_the_start_and_comes_nearer_at_low_loss():
    start, goal = state_of(Ring(0.6, 0.8)), state_of(Ring(-0.6, 0.8))
    model = Ring(0.3, 0.3)
    search = Paths(steps=300, lr=0.01, distance_weight=1.0, points=7)
    way = low_loss_way(model, start, goal, ring_batches(), search, ring_measure, refresh=None)
    assert len(way) == 7
    assert way[0].t == 0
    assert way[0].figures["loss"] == ring_measure(Ring(0.6, 0.8))["loss"]
    assert way[-1].t > 0.9
    line = along(model, straight(start, goal), ring_measure, points=21, refresh=None)
    assert barrier(way, "loss") < 0.5 * barrier(line, "loss")
    assert model.place.tolist() == [0.3, 0.3]


def test_low_loss_way_without_a_pull_only_follows_the_loss():
    start = state_of(Ring(0.9, 0.0))
    search = Paths(steps=50, lr=0.01, distance_weight=0.0, points=3)
    way = low_loss_way(
        Ring(0, 0.5), start, state_of(Ring(0.0, 9.0)), ring_batches(), search, ring_measure,
        refresh=None,
    )  # fmt: skip
    assert way[-1].figures["loss"] < way[0].figures["loss"]
    assert abs(way[-1].t) < 0.05


def test_low_loss_way_between_equal_solutions_is_refused():
    state = state_of(Ring(1.0, 0.0))
    with pytest.raises(ValueError, match="same weights"):
        low_loss_way(
            Ring(1.0, 0.0), state, state, ring_batches(), Paths(), ring_measure, refresh=None
        )


def test_searches_on_a_network_are_repeatable_and_restore_it(two, make_images):
    images = make_images(32, batch_size=32)
    model, before = two[0], state_of(two[0])
    search = Paths(steps=4, points=3)
    start, end = map(state_of, two)

    def batches():
        return itertools.cycle(images)

    controls = [bezier_control(model, start, end, batches(), search, seed=5) for _ in range(2)]
    assert equal(*controls)
    ways = [
        low_loss_way(
            model,
            start,
            end,
            batches(),
            search,
            lambda m: error_and_loss(m, images),
            refresh=lambda m: refresh_batch_norm(m, images),
        )
        for _ in range(2)
    ]
    assert ways[0] == ways[1]
    assert [point.refreshed for point in ways[0]] == [False, True, True, True]
    assert equal(before, state_of(model))
    assert all(parameter.grad is None for parameter in model.parameters())
