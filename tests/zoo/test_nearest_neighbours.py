"""The vote of nearest training images against scikit-learn's, and its way to disk and back."""

from __future__ import annotations

import numpy
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from xferpipe.config.jobs import ModelSpec
from xferpipe.config.surgery import Surgery
from xferpipe.zoo.build import build_model, classifier_of, feature_dimension, outputs_of
from xferpipe.zoo.nearest_neighbours import NearestNeighbours
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.parts import trunk_of
from xferpipe.zoo.surgery import operate
from xferpipe.zoo.weights import WeightsError, load_model, read_weights, save_weights

SPEC = ModelSpec(architecture="cifar_resnet8", width=4, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (20, 0.07), (7, 1.0)])
def test_probabilities_are_those_of_scikit_learn_with_the_same_weights(neighbours, temperature):
    draw = numpy.random.default_rng(neighbours)
    labels = draw.integers(0, 4, 150)
    features = draw.normal(size=(150, 12)) + labels[:, None]
    asked = draw.normal(size=(40, 12)) + draw.integers(0, 4, 40)[:, None]

    # A cosine distance is 1 - cosine; scikit-learn divides by the sum of the weights.
    reference = KNeighborsClassifier(
        neighbours, metric="cosine", weights=lambda d: numpy.exp((1 - d) / temperature)
    ).fit(features, labels)
    vote = NearestNeighbours(12, 4, neighbours=neighbours, temperature=temperature)
    vote.remember(torch.from_numpy(features), torch.from_numpy(labels))
    found = vote(torch.from_numpy(asked)).softmax(1).numpy()
    assert found == pytest.approx(reference.predict_proba(asked), abs=1e-4)


def test_fewer_images_than_neighbours_all_vote():
    vote = NearestNeighbours(2, 3, neighbours=20, temperature=0.5)
    vote.remember(torch.tensor([[1.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 2]))
    # Cosines 1 and 0 to the images of classes 0 and 2.
    expected = numpy.exp([2.0, 0.0]) / numpy.exp([2.0, 0.0]).sum()
    found = vote(torch.tensor([[3.0, 0.0]])).softmax(1)[0]
    assert found[[0, 2]].numpy() == pytest.approx(expected, abs=1e-5)
    assert found[1] < 1e-5


def test_without_any_image_no_class_is_preferred():
    vote = NearestNeighbours(2, 3, neighbours=20, temperature=0.5)
    assert vote(torch.ones(4, 2)).tolist() == [[0.0] * 3] * 4


def voting():
    model = build_model(SPEC, 7, seed=1).eval()
    operate(model, Surgery(knn={"neighbours": 3}), outputs=4, seed=0)
    width = feature_dimension(model)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 3, 3, 3])
    classifier_of(model).remember(
        torch.randn(9, width, generator=torch.Generator().manual_seed(0)), labels
    )
    return model


def test_model_that_votes_is_saved_and_loaded_with_its_images(tmp_path):
    model = voting()
    assert (outputs_of(model), feature_dimension(model)) == (4, 16)
    save_weights(model, tmp_path / "w.safetensors")
    again = load_model(SPEC, tmp_path / "w.safetensors")
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))


def test_model_that_votes_is_a_zoo_entry_by_its_trunk(tmp_path):
    model = voting()
    save_weights(model, tmp_path / "w.safetensors")
    found, about = file_weights.load(SPEC, str(tmp_path / "w.safetensors"))
    assert (outputs_of(found), about["source_classes"]) == (0, None)
    trunk = trunk_of(model)
    assert {name: found.state_dict()[name].tolist() for name in trunk} == {
        name: model.state_dict()[name].tolist() for name in trunk
    }
    # As its job writes it, and every other reads it.
    save_weights(found, tmp_path / "entry.safetensors")
    again = load_model(SPEC, tmp_path / "entry.safetensors")
    operate(again, None, outputs=3, seed=0)
    assert again(torch.zeros(2, 3, 16, 16)).shape == (2, 3)


def test_damaged_options_of_a_vote_are_an_error(tmp_path, monkeypatch):
    save_weights(voting(), tmp_path / "w.safetensors")
    state, description = read_weights(tmp_path / "w.safetensors")
    description["surgery"]["knn"] = {"neighbors": 3}
    monkeypatch.setattr("xferpipe.zoo.weights.read_weights", lambda _: (state, description))
    with pytest.raises(WeightsError, match=r"k-NN options .* are damaged"):
        load_model(SPEC, tmp_path / "w.safetensors")


@pytest.mark.slow
def test_exported_as_onnx_it_votes_alike(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from xferpipe.handover.onnx_file import write_onnx

    model = voting()
    assert write_onnx(model, 16, tmp_path / "m.onnx") < 1e-3
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        assert logits == pytest.approx(model(images).numpy(), abs=1e-3)
