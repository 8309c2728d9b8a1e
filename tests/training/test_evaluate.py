"""What evaluation says of each image, against NumPy on the model's own logits."""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.special
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis.strategies import integers, lists, tuples

from xferpipe.config.recipes import Recipe
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.evaluate import Evaluation, Ranking, evaluate
from xferpipe.training.loop import fit


def evaluation(labels, predicted, loss: float = 0.5) -> Evaluation:
    labels, predicted = torch.tensor(labels), torch.tensor(predicted)
    return Evaluation(loss, labels, predicted, torch.ones(len(labels)), torch.ones(len(labels)))


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


@given(lists(tuples(integers(0, 4), integers(0, 4)), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_figures_of_an_evaluation_equal_scikit_learn(pairs):
    labels, predicted = map(list, zip(*pairs, strict=True))
    found = evaluation(labels, predicted)
    assert found.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    balanced = sklearn.metrics.balanced_accuracy_score(labels, predicted)
    assert found.balanced_accuracy == pytest.approx(balanced)
    f1 = sklearn.metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(f1)
    assert found.majority_rate == max(map(labels.count, labels)) / len(labels)
    confusion = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(5))
    images, right, said = found.counts(5)
    assert images.tolist() == confusion.sum(1).tolist()
    assert right.tolist() == confusion.diagonal().tolist()
    assert said.tolist() == confusion.sum(0).tolist()


@pytest.mark.parametrize(
    ("judged_by", "kept"), [("accuracy", 1), ("balanced_accuracy", 2), ("macro_f1", 3)]
)
def test_best_epoch_is_that_of_the_figure_that_the_run_is_judged_by(model, data, judged_by, kept):
    """Two rare classes of 2 images beside 16 of a common one. By hand: 17, 14 and 16 of 20 are
    right; mean recalls 1/2, 7/8 and 5/8; F1 of the classes 32/35 2/3 0, 20/26 4/7 4/7 and
    14/16 2/5 2/3."""
    labels = [0] * 16 + [1, 1, 2, 2]
    epochs = iter(
        [
            [0] * 16 + [1, 0, 0, 0],
            [0] * 10 + [1] * 3 + [2] * 3 + [1, 1, 2, 2],
            [0] * 14 + [1] * 2 + [1, 0, 2, 0],
        ]
    )
    recipe = Recipe(epochs=3, batch_size=16)
    options = {"judge": lambda *_: evaluation(labels, next(epochs)), "judged_by": judged_by}
    result = fit(model(), recipe, data(), data(seed=1), seed=0, **options)
    assert result.kept_epoch == kept


def ranking(*ap: float) -> Ranking:
    return Ranking(torch.tensor(ap, dtype=torch.float64))


def test_map_of_a_ranking_is_the_mean_over_queries_with_a_positive():
    assert ranking(0.5, math.nan, 1.0).map == 0.75
    assert math.isnan(ranking(math.nan, math.nan).map)


def test_best_epoch_of_a_ranking_is_the_first_of_the_highest_map(model, data):
    epochs = iter([ranking(0.2, 0.4), ranking(0.9, math.nan), ranking(0.8, 1.0), ranking(0.1, 0.1)])
    recipe = Recipe(epochs=4, batch_size=16)
    options = {"judge": lambda *_: next(epochs), "judged_by": "map"}
    result = fit(model(), recipe, data(), data(seed=1), seed=0, **options)
    assert result.kept_epoch == 2
    assert result.validation.ap[0] == 0.9
    assert [row["validation_map"] for row in result.rows] == pytest.approx([0.3, 0.9, 0.9, 0.1])
    assert {row["validation_accuracy"] for row in result.rows} == {None}
    assert {row["validation_loss"] for row in result.rows} == {None}


def test_ranking_without_a_figure_ends_the_run_as_diverged(model, data):
    recipe = Recipe(epochs=2, batch_size=16)
    options = {"judge": lambda *_: ranking(math.nan), "judged_by": "map"}
    result = fit(model(), recipe, data(), data(seed=1), seed=0, **options)
    assert "not finite in epoch 1" in result.diverged
    assert result.kept_epoch == 0


def test_ranking_of_the_kept_epoch_survives_a_restart(model, data, tmp_path, monkeypatch):
    monkeypatch.setenv("XFERPIPE_CHECKPOINT_SECONDS", "0")

    class Killed(Exception):
        pass

    def judge(figures):
        for figure in figures:
            if figure is None:
                raise Killed
            yield figure

    def run(figures):
        source = judge(figures)
        recipe = Recipe(epochs=3, batch_size=16)
        saved = Checkpoint(tmp_path / "c.pt", "job")
        options = {"judge": lambda *_: next(source), "judged_by": "map", "checkpoint": saved}
        return fit(model(), recipe, data(), data(seed=1), seed=0, **options)

    first, second, third = ranking(0.9, 0.7), ranking(0.2, 0.4), ranking(0.3, 0.1)
    with pytest.raises(Killed):
        run([first, second, None])
    result = run([third])
    assert result.kept_epoch == 1
    assert torch.equal(result.validation.ap, first.ap)
    assert [row["epoch"] for row in result.rows] == [1, 2, 3]
