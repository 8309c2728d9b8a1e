"""The fine-tuning stage: what it writes, and what becomes of runs that go wrong."""

from __future__ import annotations

import importlib

import numpy
import polars
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers
from safetensors.torch import load_file

from xferpipe.config.load import StudyError, load_study
from xferpipe.config.report import FeaturesTaken
from xferpipe.config.scores import Probe
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_images
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import read_table
from xferpipe.scores import lfc
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.evaluate import embed, evaluate
from xferpipe.training.feature_correlation import label_feature_correlation, shown_rows
from xferpipe.training.labelled import LabelledImages
from xferpipe.zoo.surgery import operate
from xferpipe.zoo.weights import WeightsError, load_model


def row(out) -> dict:
    return read_table("finetunes", out / "run.parquet").row(0, named=True)


def test_finetune_row_is_what_the_saved_weights_do_on_the_test_split(stages):
    out = stages.finetune()
    found = row(out)
    job = stages.jobs("finetune", "digits", "full", "drawn", "sgd", "0")
    files = stages.images("digits")
    rows = read_manifest(files["manifest"])
    opened = open_images(rows, files["images"], None, 16)
    part = splits.test_rows(rows, job.target)
    model = load_model(job.spec, out / "weights.safetensors")
    test = LabelledImages(opened, part.rows, part.labels, job.spec, torch.device("cpu"))
    again = evaluate(model, test)
    assert (found["test_accuracy"], found["test_loss"]) == (again.accuracy, again.loss)
    assert (found["status"], found["selected_on"], found["task"]) == (
        "finished",
        "validation",
        "classification",
    )
    images = read_table("predictions", out / "predictions.parquet").filter(split="test")
    assert images["row"].to_list() == part.rows.tolist()
    assert images["label"].to_list() == part.labels.tolist()
    assert images["predicted"].to_list() == again.predicted.tolist()
    assert images["probability_label"].to_list() == again.probability_label.tolist()
    epochs = read_table("epochs", out / "epochs.parquet")
    kept = epochs.row(found["kept_epoch"] - 1, named=True)
    assert kept["validation_accuracy"] == found["validation_accuracy"]
    assert epochs["epoch"].to_list() == [1, 2]
    assert not (out / "checkpoint.pt").exists()


def test_finetune_twice_gives_equal_tables_and_weights(stages):
    first, second = stages.finetune(where="a"), stages.finetune(where="b")
    timed = ["seconds", "images_per_second"]
    assert (
        polars.read_parquet(first / "run.parquet")
        .drop(timed)
        .equals(polars.read_parquet(second / "run.parquet").drop(timed))
    )
    one, other = (load_file(out / "weights.safetensors") for out in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_finetune_that_diverges_writes_a_row_that_says_so(stages):
    stages.study["finetuning_recipes"]["sgd"] |= {"lr": 1e30, "momentum": 0.0}
    found = row(stages.finetune())
    assert found["status"] == "diverged"
    assert "learning rate 1e+30" in found["reason"]
    assert found["test_accuracy"] is None
    assert found["validation_accuracy"] is None
    assert read_table("predictions", stages.folder / "run" / "predictions.parquet").is_empty()


def test_finetune_predictions_pair_the_images_of_all_runs_and_give_their_figures(stages):
    """The same rows in the same order, whatever the run; accuracy and loss follow from them."""
    images = []
    for shots in ("full", "5"):
        out = stages.finetune(shots=shots, where=shots)
        found, table = row(out), read_table("predictions", out / "predictions.parquet")
        for split in ("validation", "test"):
            part = table.filter(split=split)
            right = part["predicted"] == part["label"]
            assert right.mean() == pytest.approx(found[f"{split}_accuracy"], abs=1e-12)
            loss = -part["probability_label"].log().mean()
            assert loss == pytest.approx(found[f"{split}_loss"], rel=1e-5)
            # Nothing is more probable than what is predicted.
            assert (part["probability_predicted"] >= part["probability_label"]).all()
            equal = part["probability_predicted"] == part["probability_label"]
            assert equal.to_list() == right.to_list()
        images.append(table.select("target", "split", "row", "label"))
    assert images[0].equals(images[1])
    assert images[0].n_unique() == images[0].height


def test_finetune_recalls_of_the_classes_follow_from_its_predictions(stages):
    out = stages.finetune()
    found = row(out)
    images = read_table("predictions", out / "predictions.parquet")
    recalls = read_table("class_recalls", out / "class_recalls.parquet")
    assert recalls["class_name"].to_list() == ["5", "6", "7"] * 2
    for line in recalls.iter_rows(named=True):
        own = images.filter(split=line["split"], label=line["label"])
        assert line["images"] == own.height
        assert line["recall"] == (own["predicted"] == line["label"]).mean()
    for split in ("validation", "test"):
        part = recalls.filter(split=split)
        assert found[f"{split}_images"] == part["images"].sum()
        assert found[f"{split}_balanced_accuracy"] == pytest.approx(part["recall"].mean())
        assert found[f"{split}_majority_rate"] == part["images"].max() / part["images"].sum()


def test_finetune_judged_by_another_figure_keeps_the_epoch_that_has_most_of_it(stages):
    stages.study["targets"]["digits"]["judged_by"] = "macro_f1"
    stages.study["finetuning_recipes"]["sgd"]["epochs"] = 4
    out = stages.finetune()
    found, epochs = row(out), read_table("epochs", out / "epochs.parquet")
    assert found["judged_by"] == "macro_f1"
    figures = epochs.select("validation_macro_f1", -polars.col("validation_loss")).rows()
    assert found["kept_epoch"] == found["best_epoch"] == figures.index(max(figures)) + 1
    assert found["validation_macro_f1"] == max(figures)[0]
    assert found["drop"] == max(figures)[0] - figures[-1][0]


def test_finetune_shots_train_on_that_many_images(stages):
    assert row(stages.finetune(shots="5"))["train_images"] == 15


def test_finetune_trains_on_the_shots_that_the_studys_seed_draws(stages, monkeypatch):
    module = importlib.import_module("xferpipe.stages.finetune")
    train, seen = module.train, []

    def noted(job, model, recipe, images, *rest, **options):
        seen.append(images.rows.tolist())
        return train(job, model, recipe, images, *rest, **options)

    monkeypatch.setattr(module, "train", noted)
    stages.finetune(shots="5")
    manifest = read_manifest(stages.images("digits")["manifest"])
    target = load_study(stages.study).targets["digits"]
    drawn = {seed: splits.training_rows(manifest, target, 5, seed).rows.tolist() for seed in (0, 7)}
    assert seen == [drawn[7]]
    assert drawn[7] != drawn[0]


def test_finetune_draws_the_new_head_by_the_seed_of_the_run(stages):
    """At a rate of nothing the head stays as it was drawn."""
    stages.study["finetuning_recipes"]["sgd"] = {"epochs": 1, "batch_size": 16, "lr": 1e-30}
    kept = load_file(stages.finetune() / "weights.safetensors")
    spec = stages.jobs("finetune", "digits", "full", "drawn", "sgd", "0").spec
    heads = {}
    for seed in (0, 7):
        model = load_model(spec, stages.weights("drawn"))
        operate(model, None, outputs=3, seed=seed)
        heads[seed] = model.state_dict()["fc.weight"]
    assert torch.equal(kept["fc.weight"], heads[0])
    assert not torch.equal(heads[0], heads[7])


def test_finetune_of_the_last_epoch_was_selected_on_nothing(stages):
    stages.study["finetuning_recipes"]["sgd"]["select"] = "last"
    found = row(stages.finetune())
    assert (found["selected_on"], found["kept_epoch"]) == ("none", 2)


def test_finetune_within_shots_chooses_the_epoch_on_a_part_of_them(stages):
    stages.study["targets"]["digits"]["validation"] = "within_shots"
    found = row(out := stages.finetune(shots="5"))
    assert (found["train_images"], found["validation_images"]) == (12, 3)
    images = read_table("predictions", out / "predictions.parquet").filter(split="validation")
    assert images.height == 3


def test_finetune_within_one_shot_keeps_the_last_epoch_without_validation(stages):
    stages.study["targets"]["digits"]["validation"] = "within_shots"
    stages.study["finetunes"][0]["shots"] = [1]
    stages.study["finetuning_recipes"]["sgd"]["select"] = "last"
    found = row(stages.finetune(shots="1"))
    assert (found["train_images"], found["validation_images"]) == (3, 0)
    assert (found["validation_accuracy"], found["best_epoch"]) == (None, None)
    assert (found["kept_epoch"], found["selected_on"]) == (2, "none")
    assert found["test_accuracy"] is not None


def test_finetune_linear_probe_within_one_shot_needs_no_validation(stages):
    stages.study["targets"]["digits"]["validation"] = "within_shots"
    stages.study["finetunes"][0]["shots"] = [1]
    stages.study["finetuning_recipes"]["sgd"] |= {
        **{"select": "last", "cache_features": True, "train_layers": "head"}
    }
    assert row(stages.finetune(shots="1"))["validation_images"] == 0


def test_study_of_one_shot_that_chooses_within_it_is_refused(stages):
    stages.study["targets"]["digits"]["validation"] = "within_shots"
    stages.study["finetunes"][0]["shots"] = [1]
    with pytest.raises(
        StudyError, match=r"within_shots and shots 1.*2 shots or more.*select: last"
    ):
        load_study(stages.study)


@pytest.mark.parametrize(("draws", "different"), [("fixed", False), ("per_seed", True)])
def test_finetune_seeds_draw_their_shots_where_asked(stages, draws, different):
    stages.study["targets"]["digits"]["draws"] = draws
    manifest = read_manifest(stages.images("digits")["manifest"])
    drawn = []
    for seed in ("0", "1"):
        job = stages.jobs("finetune", "digits", "5", "drawn", "sgd", seed)
        drawn.append(
            splits.training_rows(
                manifest, job.target, job.shots, job.study_seed, run_seed=job.seed
            ).rows.tolist()
        )
    assert (drawn[0] != drawn[1]) is different


def test_options_of_few_shots_are_in_no_slice_that_they_do_not_change(stages):
    before = [
        stages.jobs("finetune", "digits", "full", "drawn", "sgd", "0"),
        stages.jobs("features", "digits", "5", "drawn"),
    ]
    few = stages.jobs("finetune", "digits", "5", "drawn", "sgd", "0")
    stages.study["targets"]["digits"] |= {"validation": "within_shots", "draws": "per_seed"}
    assert before == [
        stages.jobs("finetune", "digits", "full", "drawn", "sgd", "0"),
        stages.jobs("features", "digits", "5", "drawn"),
    ]
    assert few != stages.jobs("finetune", "digits", "5", "drawn", "sgd", "0")


def test_finetune_by_hyperrule_from_few_shots_is_validated_once_in_many_steps(stages):
    """15 images in batches of 32: three steps were three epochs of one small batch each."""
    stages.study["finetuning_recipes"]["sgd"] = {
        "preset": "bit_hyperrule",
        "batch_size": 32,
        "steps": 3,
        "train_resize_size": 8,
    }
    out = stages.finetune(shots="5")
    assert (row(out)["train_images"], row(out)["epochs"]) == (15, 1)


def test_finetune_that_was_killed_goes_on_to_the_same_result(stages, monkeypatch):
    expected = stages.finetune(where="undisturbed")
    monkeypatch.setenv("XFERPIPE_CHECKPOINT_SECONDS", "0")
    write, written = Checkpoint.write, []

    def die(self, state):
        write(self, state)
        written.append(1)
        if len(written) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", die)
    with pytest.raises(KeyboardInterrupt):
        stages.finetune(where="killed")
    out = stages.folder / "killed"
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.pt"]
    stages.finetune(where="killed")
    timed = ["seconds", "images_per_second"]
    for table in ("run", "epochs", "predictions"):
        one = polars.read_parquet(expected / f"{table}.parquet")
        other = polars.read_parquet(out / f"{table}.parquet")
        drop = [name for name in timed if name in one.columns]
        assert one.drop(drop).equals(other.drop(drop))
    one, other = (load_file(folder / "weights.safetensors") for folder in (expected, out))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not (out / "checkpoint.pt").exists()


def test_finetune_of_weights_of_another_architecture_names_them_and_writes_nothing(stages):
    stages.study["zoo"]["drawn"]["architecture"] = "cifar_resnet14"
    path = stages.weights("drawn")
    stages.study["zoo"]["drawn"]["architecture"] = "cifar_resnet8"
    stages.weights = lambda model: path
    with pytest.raises(WeightsError, match="another architecture"):
        stages.finetune()
    assert not (stages.folder / "run").exists()


@pytest.mark.parametrize(
    "recipe",
    [
        {"preset": "linear_probe", "epochs": 5},
        {"surgery": {"head": "bnneck", "pooling": "gem"}},
        {
            "surgery": {"lora": {"rank": 2, "kinds": ["convolution"]}},
            "train_layers": ["head", "adapters"],
        },
        {"surgery": {"adapters": True}, "model_ema": True},
        {"preset": "bit_hyperrule", "steps": 2, "hyperrule": None, "lr_scheduler": "cosine"},
        {"label_smoothing": 0.1, "label_smoothing_over": "others", "cutmix_alpha": 1.0},
        {"preset": "s002_swa", "epochs": 4, "batch_size": 16},
    ],
)
def test_finetune_with_every_kind_of_recipe_writes_plain_weights(stages, recipe):
    stages.study["finetuning_recipes"]["sgd"] = {"epochs": 2, "batch_size": 16, **recipe}
    out = stages.finetune()
    assert row(out)["status"] == "finished"
    spec = stages.jobs("finetune", "digits", "full", "drawn", "sgd", "0").spec
    names = load_model(spec, out / "weights.safetensors").state_dict()
    assert not any("parametrizations" in name for name in names)


@pytest.mark.parametrize(
    ("architecture", "lr"),
    # BiT classifies by a convolution.
    [("cifar_resnet8", 0.1), ("timm:resnetv2_50x1_bit", 0.001)],
)
def test_linear_probe_equals_training_the_head_behind_the_frozen_model(stages, architecture, lr):
    """Cached features are those that the frozen model gives at every showing."""
    stages.study["zoo"]["drawn"] = {"architecture": architecture, "weights": "random"}
    common = {"epochs": 3, "batch_size": 16, "lr": lr, "train_layers": "head"}
    heads = []
    for cached in (True, False):
        stages.study["finetuning_recipes"]["sgd"] = {**common, "cache_features": cached}
        out = stages.finetune(where=f"cached_{cached}")
        heads.append(load_file(out / "weights.safetensors"))
    for name, value in heads[0].items():
        assert torch.allclose(value, heads[1][name], atol=1e-5), name


@pytest.mark.slow
def test_finetune_in_two_processes_gives_the_row_of_one(stages):
    stages.study["zoo"]["drawn"]["norm"] = "group"
    rows = []
    for count in (1, 2):
        stages.study["finetuning_recipes"]["sgd"]["processes"] = count
        rows.append(row(stages.finetune(where=f"{count}")))
    for name in ("validation_loss", "test_loss"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-4)
    for name in ("status", "best_epoch", "train_images", "test_accuracy"):
        assert rows[0][name] == rows[1][name]


def correlations(out) -> polars.DataFrame:
    return read_table("feature_correlation", out / "feature_correlation.parquet")


def asking(stages, **more) -> None:
    stages.study["report"] = {"feature_correlation": {"images": 12, "epochs": [1], **more}}


def test_finetune_not_asked_for_features_writes_an_empty_table(stages):
    assert correlations(stages.finetune()).is_empty()


def test_finetune_compares_the_features_of_probe_images_before_during_and_after(stages):
    """They are those of the zoo's weights and of the saved ones, and looking changes nothing."""
    plain = load_file(stages.finetune(where="plain") / "weights.safetensors")
    asking(stages)
    out = stages.finetune()
    tuned = load_file(out / "weights.safetensors")
    assert all(torch.equal(value, plain[name]) for name, value in tuned.items())

    job = stages.jobs("finetune", "digits", "full", "drawn", "sgd", "0")
    files = stages.images("digits")
    rows = read_manifest(files["manifest"])
    part = splits.probe_rows(rows, job.target, "full", Probe(images_per_class=4), job.study_seed)
    order = part.labels.argsort(kind="stable")
    opened = open_images(rows, files["images"], None, 16)
    images = LabelledImages(
        opened, part.rows[order], part.labels[order], job.spec, torch.device("cpu")
    )
    table = correlations(out)
    moments = table.select("moment", "epoch").unique(maintain_order=True).rows()
    assert moments == [("before", 0), ("during", 1), ("after", row(out)["kept_epoch"])]
    for moment, weights in (
        ("before", stages.weights("drawn")),
        ("after", out / "weights.safetensors"),
    ):
        features, _ = embed(load_model(job.spec, weights), images)
        found = table.filter(moment=moment)
        first, second = found["row"].to_list(), found["column"].to_list()
        expected = (features[first] * features[second]).sum(1).tolist()
        assert found["product"].to_list() == pytest.approx(expected, rel=1e-4)
        assert found["lfc"][0] == pytest.approx(lfc(features, images.labels)[""], abs=1e-6)
        classes = found.filter(polars.col("row") == polars.col("column"))["row_class"]
        assert classes.to_list() == [name for name in ("5", "6", "7") for _ in range(4)]


def test_finetune_features_taken_in_a_killed_run_are_those_of_an_undisturbed_one(
    stages, monkeypatch
):
    asking(stages)
    expected = correlations(stages.finetune(where="undisturbed"))
    write, written = Checkpoint.write, []

    def die(self, state):
        write(self, state)
        written.append(1)
        # After the first epoch, whose features only the checkpoint still has.
        if state["epoch"] == 1:
            raise KeyboardInterrupt

    monkeypatch.setenv("XFERPIPE_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(Checkpoint, "write", die)
    with pytest.raises(KeyboardInterrupt):
        stages.finetune(where="killed")
    monkeypatch.setattr(Checkpoint, "write", write)
    assert correlations(stages.finetune(where="killed")).equals(expected)


def test_finetune_that_diverges_shows_the_features_it_came_to(stages):
    stages.study["finetuning_recipes"]["sgd"] |= {"lr": 1e30, "momentum": 0.0}
    asking(stages)
    assert correlations(stages.finetune())["moment"].unique().to_list() == ["before"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"models": ["nobody"]}, "'nobody' is not defined"),
        ({"seeds": [7]}, "none of the study's fine-tunes is among these"),
        ({"recipes": ["probe"]}, "'probe' leaves the features as they are"),
    ],
)
def test_study_that_asks_for_features_nobody_takes_says_so(stages, asked, says):
    stages.study["finetuning_recipes"]["probe"] = {"preset": "linear_probe"}
    asking(stages, **asked)
    with pytest.raises(StudyError, match=says):
        stages.jobs  # noqa: B018


def test_shown_rows_are_probe_images_in_equal_parts_and_no_more_than_asked(stages):
    files = stages.images("digits")
    rows = read_manifest(files["manifest"])
    target = load_study(stages.study).targets["digits"]
    for images, probe, sizes in (
        (12, 25, [4, 4, 4]),
        (100, 5, [5, 5, 5]),
        (13, 25, [4, 4, 4]),
        (4, 25, [2, 2]),
    ):
        taken = FeaturesTaken(epochs=(1,), images=images, probe=Probe(images_per_class=probe))
        shown = shown_rows(rows, target, "full", taken, 0)
        assert numpy.bincount(shown.labels).tolist() == sizes
        whole = splits.probe_rows(rows, target, "full", taken.probe, 0)
        assert set(shown.rows) <= set(whole.rows)


@given(
    features=arrays(
        numpy.float64, (6, 3), elements=floats(-8, 8).map(lambda number: round(number, 2))
    ),
    labels=arrays(numpy.int64, 6, elements=integers(0, 2)),
)
def test_label_feature_correlation_equals_pearson_over_all_entries(features, labels):
    products = features @ features.T
    same = (labels[:, None] == labels).astype(float)
    found = label_feature_correlation(products, labels)
    if numpy.ptp(products) < 1e-9 or numpy.ptp(same) == 0:
        assert found is None or abs(found) <= 1
    else:
        expected = numpy.corrcoef(products.ravel(), same.ravel())[0, 1]
        assert found == pytest.approx(expected, abs=1e-9)
