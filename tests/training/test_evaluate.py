"""What evaluation says of each image, against NumPy on the model's own logits."""

from __future__ import annotations

import numpy
import pytest
import scipy.special
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.training.evaluate import evaluate
from xferpipe.training.loop import fit


def test_evaluation_of_each_image_is_the_softmax_of_its_logits_whatever_the_batch(model, data):
    network, images = model(), data(30)
    network.eval()
    with torch.inference_mode():
        (pixels, labels), *_ = images.evaluation(30)
        logits = network(pixels).double().numpy()
    probabilities = scipy.special.softmax(logits, axis=1)
    for batch in (7, 30):
        found = evaluate(network, images, batch)
        assert found.predicted.tolist() == logits.argmax(1).tolist()
        assert torch.equal(found.labels, labels)
        numpy.testing.assert_allclose(
            found.probability_label, probabilities[range(30), labels.numpy()], rtol=1e-5
        )
        numpy.testing.assert_allclose(
            found.probability_predicted, probabilities.max(axis=1), rtol=1e-5
        )
        assert found.loss == pytest.approx(-found.probability_label.log().mean().item(), rel=1e-5)
        assert found.accuracy == (found.predicted == labels).double().mean().item()


@pytest.mark.parametrize("select", ["best", "last"])
def test_run_keeps_the_predictions_of_the_weights_that_it_keeps(model, data, select):
    network, validation = model(), data(30, seed=1)
    recipe = Recipe(epochs=5, batch_size=16, lr=0.3, lr_scheduler="constant", select=select)
    result = fit(network, recipe, data(), validation, seed=2)
    again = evaluate(network, validation)
    for name in ("labels", "predicted", "probability_label", "probability_predicted"):
        assert torch.equal(getattr(result.validation, name), getattr(again, name)), name
