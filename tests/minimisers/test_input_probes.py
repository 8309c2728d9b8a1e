import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xferpipe.config.minimisers import InputProbes
from xferpipe.minimisers.perturbations import (
    black_square,
    gradient_sign_step,
    input_probes,
    loss_gradient,
)
from xferpipe.minimisers.probe_images import PixelClassifier, ProbeImages, evaluate
from xferpipe.training.memory import Pieces

PROBES = InputProbes(
    noise_levels=(0.1, 0.3),
    noise_repeats=3,
    mask_sides=(0.25, 0.5),
    mask_repeats=2,
    fgsm_epsilons=(0.01, 0.05),
)


def test_fgsm_of_linear_model_equals_closed_form():
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).double()
    pixels = torch.rand(9, 3, 2, 2, dtype=torch.float64)
    labels = torch.arange(9) % 5
    weight, bias = linear[1].weight.detach(), linear[1].bias.detach()
    scores = numpy.exp((pixels.flatten(1) @ weight.T + bias).numpy())
    posterior = scores / scores.sum(1, keepdims=True)
    by_hand = (posterior - numpy.eye(5)[labels.numpy()]) @ weight.numpy()

    _, gradient = loss_gradient(linear, pixels, labels, Pieces())
    stepped = gradient_sign_step(pixels, gradient, 0.03)

    numpy.testing.assert_allclose(gradient.flatten(1).numpy(), by_hand, rtol=1e-12, atol=1e-14)
    expected = numpy.clip(pixels.flatten(1).numpy() + 0.03 * numpy.sign(by_hand), 0, 1)
    numpy.testing.assert_array_equal(stepped.flatten(1).numpy(), expected)


def test_fgsm_step_raises_the_loss_of_a_linear_model(make_images):
    torch.manual_seed(1)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    readings = input_probes(linear, make_images(), PROBES, seed=0)
    losses = {r.intensity: r.value for r in readings if r.measure == "loss" and r.probe == "fgsm"}
    clean = next(r.value for r in readings if r.probe == "clean" and r.measure == "loss")
    assert clean < losses[0.01] < losses[0.05]


@given(st.integers(3, 12), st.integers(3, 12), st.floats(0, 1), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_black_square_any_place_blacks_exactly_its_area_inside(h, w, side, seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(5, 3, h, w, generator=generator) + 0.5
    places = torch.rand(5, 2, generator=generator, dtype=torch.float64)
    masked = black_square(pixels, places, side)
    side_px = round(side * min(h, w))
    black = masked == 0
    assert (black.sum((1, 2, 3)) == 3 * side_px**2).all()
    assert torch.equal(masked[~black], pixels[~black])
    for image in black[:, 0]:
        rows, columns = image.any(1).nonzero().flatten(), image.any(0).nonzero().flatten()
        assert len(rows) == len(columns) == side_px
        if side_px:
            assert rows[-1] - rows[0] == columns[-1] - columns[0] == side_px - 1


def test_black_square_places_reach_every_corner():
    places = torch.tensor([[0.0, 0.0], [0.999999, 0.999999]], dtype=torch.float64)
    masked = black_square(torch.ones(2, 1, 6, 6), places, 0.5)
    assert (masked[0, 0, :3, :3] == 0).all()
    assert (masked[1, 0, 3:, 3:] == 0).all()


def test_noise_has_the_stated_deviation_and_is_not_clipped():
    seen = []

    class Watch(nn.Module):
        def forward(self, pixels):
            seen.append(pixels.clone())
            return pixels.flatten(1)[:, :4]

    images = ProbeImages(
        torch.full((40, 3, 16, 16), 128, dtype=torch.uint8),
        torch.zeros(40, dtype=torch.long),
        batch_size=40,
    )
    probes = InputProbes(noise_levels=(0.4,), noise_repeats=1, mask_sides=(), fgsm_epsilons=())
    input_probes(Watch(), images, probes, seed=3)
    clean, noisy = seen
    difference = noisy - clean
    # 30,720 draws: the deviation of a deviation is 0.4 / sqrt(2 n) = 0.0016.
    assert difference.std().item() == pytest.approx(0.4, abs=0.007)
    assert abs(difference.mean().item()) < 0.01
    assert noisy.max() > 1
    assert noisy.min() < 0


@pytest.mark.parametrize("px", [8, 7, 5])
def test_input_probes_any_batch_size_give_the_same_figures(make_network, make_images, px):
    network = make_network().double()
    runs = [
        input_probes(
            network, make_images(px=px, batch_size=size, dtype=torch.float64), PROBES, seed=4
        )
        for size in (1, 5, 37)
    ]
    for other in runs[1:]:
        for first, second in zip(runs[0], other, strict=True):
            assert (first.probe, first.intensity, first.measure) == (
                second.probe,
                second.intensity,
                second.measure,
            )
            assert first.value == pytest.approx(second.value, rel=1e-12)
            assert first.low == pytest.approx(second.low, rel=1e-9)


def test_passes_that_do_not_fit_are_halved_and_give_the_same_figures(
    make_network, make_images, caplog
):
    network = make_network().double()
    images = make_images(batch_size=37, dtype=torch.float64)

    def measured():
        readings = input_probes(network, images, PROBES, seed=4)
        return [r.value for r in readings], evaluate(network, images)

    def limit(module, inputs):
        if len(inputs[0]) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    values, outcomes = measured()
    network[3].register_forward_pre_hook(limit)
    found, halved = measured()
    assert found == pytest.approx(values, rel=1e-12)
    assert torch.equal(halved.correct, outcomes.correct)
    torch.testing.assert_close(halved.loss, outcomes.loss, rtol=1e-12, atol=1e-15)
    assert "going on with 9" in caplog.text


def test_input_probes_read_each_batch_once(network, make_images):
    images = make_images(32, batch_size=8)
    reads = []

    class Counting(ProbeImages):
        def __iter__(self):
            for batch in super().__iter__():
                reads.append(len(batch[0]))
                yield batch

    counting = Counting(images.images, images.labels, batch_size=8)
    readings = input_probes(network, counting, PROBES, seed=0)
    assert reads == [8, 8, 8, 8]
    assert len({(r.probe, r.intensity) for r in readings}) == 7


def test_input_probes_leave_weights_modes_and_gradients_alone(network, make_images):
    network[0].train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    input_probes(network, make_images(), PROBES, seed=0)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert network[0].training
    assert not network[1].training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_clean_reading_equals_plain_evaluation(network, make_images):
    images = make_images()
    outcomes = evaluate(network, images)
    clean = {r.measure: r for r in input_probes(network, images, PROBES, seed=0)[:2]}
    assert clean["accuracy"].value == outcomes.accuracy
    assert clean["loss"].value == pytest.approx(outcomes.mean_loss, rel=1e-6)
    assert clean["accuracy"].interval == "images"
    assert clean["accuracy"].low < outcomes.accuracy < clean["accuracy"].high


def test_input_probes_another_seed_moves_only_drawn_probes(network, make_images):
    first, second = (input_probes(network, make_images(), PROBES, seed=s) for s in (1, 2))
    moved = {a.probe for a, b in zip(first, second, strict=True) if a.value != b.value}
    assert moved == {"noise", "mask"}


def test_noise_repeats_give_an_interval_and_one_repeat_none(network, make_images):
    readings = input_probes(network, make_images(), PROBES, seed=0)
    noise = next(r for r in readings if r.probe == "noise" and r.measure == "loss")
    assert noise.repeats == 3
    assert noise.low < noise.value < noise.high
    single = PROBES.model_copy(update={"noise_repeats": 1})
    readings = input_probes(network, make_images(), single, seed=0)
    noise = next(r for r in readings if r.probe == "noise" and r.measure == "loss")
    assert noise.low is None
    assert noise.high is None


def test_pixel_classifier_normalises_and_keeps_the_models_own_state(network):
    classifier = PixelClassifier(network, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    pixels = torch.rand(2, 3, 8, 8)
    mean = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
    std = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    assert torch.equal(classifier(pixels), network((pixels - mean) / std))
    assert {name.removeprefix("model.") for name in classifier.state_dict()} == set(
        network.state_dict()
    )


def test_probe_images_unequal_lengths_name_both():
    with pytest.raises(ValueError, match=r"3 rows but labels has 2"):
        ProbeImages(torch.zeros(3, 3, 2, 2), torch.zeros(2), batch_size=2)


def test_intensities_outside_their_range_are_refused():
    with pytest.raises(ValueError, match=r"noise_levels: \[1.5\]"):
        InputProbes(noise_levels=(0.1, 1.5))


def test_module_draws_nothing_from_torchs_global_stream(network, make_images):
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    input_probes(network, make_images(), PROBES, seed=0)
    assert torch.equal(torch.rand(3), expected)
