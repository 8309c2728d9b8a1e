import copy
from functools import partial

import numpy
import polars
import pytest
import torch

from xferpipe.config import load_study
from xferpipe.config.load import StudyError
from xferpipe.datasets import splits
from xferpipe.graph.stages import STAGES, job_of
from xferpipe.minimisers.sample import SourceImages, stratified
from xferpipe.records import read_table
from xferpipe.stages.continual import continual, with_forgotten
from xferpipe.stages.finetune import finetune
from xferpipe.stages.manifest import manifest
from xferpipe.stages.pack import pack
from xferpipe.stages.path import path
from xferpipe.stages.pretrain import pretrain
from xferpipe.stages.probe import probe
from xferpipe.stages.probe_finetuned import probe_finetuned
from xferpipe.training.evaluate import evaluate
from xferpipe.training.labelled import LabelledImages
from xferpipe.zoo.weights import load_model

PIXELS = {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}
ENTRY = {"architecture": "cifar_resnet8", "weights": "pretrain", "source": "letters"} | PIXELS
STUDY = {
    "name": "tiny",
    "device": "cpu",
    # Another than those of the runs, so that nobody takes one for the other.
    "seed": 7,
    "datasets": {
        "letters": {"reader": "generated", "kind": "letters", "classes": 4, "images_per_class": 30},
        "shapes": {"reader": "generated", "kind": "shapes", "classes": 4, "images_per_class": 30},
    },
    "targets": {"shapes": {"dataset": "shapes"}},
    "pretraining_recipes": {
        "slow": {"epochs": 2, "lr": 0.02, "lr_scheduler": "constant"},
        "fast": {"epochs": 2, "lr": 0.1, "lr_scheduler": "constant"},
    },
    "finetuning_recipes": {"sgd": {"epochs": 1, "lr": 0.05}},
    "zoo": {
        "first": ENTRY | {"recipe": "slow", "width": 4},
        "second": ENTRY | {"recipe": "fast", "width": 4},
        "wide": ENTRY | {"recipe": "fast", "width": 8},
        "drawn": {"architecture": "cifar_resnet8", "weights": "random", "width": 4},
    },
    "finetunes": [{"recipes": ["sgd"], "models": ["first"]}],
    "minimisers": {
        "sample": {"train_images": 40, "test_images": 16, "batch_size": 10},
        "inputs": {
            "noise_levels": [0.2],
            "noise_repeats": 2,
            "mask_sides": [0.5],
            "mask_repeats": 2,
            "fgsm_epsilons": [0.02],
        },
        "energy": {"sigmas": [0.1, 0.5], "draws": 2},
        "paths": {"points": 3, "steps": 3},
        "continual": {"recipe": "sgd"},
    },
}


def changed(*path_and_value):
    *path_, value = path_and_value
    study = copy.deepcopy(STUDY)
    place = study
    for key in path_[:-1]:
        place = place[key]
    place[path_[-1]] = value
    return study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Data sets, two solutions and one fine-tune of a tiny study."""
    folder = tmp_path_factory.mktemp("tiny")
    jobs = partial(job_of, load_study(STUDY))
    data = {}
    for name in ("letters", "shapes"):
        table, packed = folder / f"{name}.parquet", folder / f"{name}.npy"
        manifest(
            jobs("manifest", name),
            root=None,
            manifest=table,
            findings=table.with_name("findings.parquet"),
        )
        pack(jobs("pack", name), manifest=table, root=None, images=packed)
        data[name] = {"manifest": table, "images": packed, "root": None}
    weights = {}
    for model in ("first", "second"):
        weights[model] = folder / f"{model}.safetensors"
        pretrain(
            jobs("pretrain", model),
            **data["letters"],
            initial=None,
            checkpoint=folder / "checkpoint.pt",
            weights=weights[model],
            card=folder / "card.parquet",
            class_means=folder / "means.safetensors",
            epochs=folder / "epochs.parquet",
        )
    return folder, jobs, data, weights


def test_probe_writes_every_probe_of_both_splits_and_repeats_itself(done, tmp_path):
    _, jobs, data, weights = done
    tables = []
    for i in range(2):
        output = tmp_path / f"{i}.parquet"
        probe(
            jobs("probe", "first"), **data["letters"], weights=weights["first"], minimisers=output
        )
        tables.append(read_table("minimisers", output).drop("seconds"))
    assert tables[0].equals(tables[1])
    table = tables[0]
    expected = {("clean", 0.0), ("noise", 0.2), ("mask", 0.5), ("fgsm", 0.02)}
    expected |= {("energy", 0.1), ("energy", 0.5)}
    for split, images in (("train", 40), ("test", 16)):
        part = table.filter(split=split)
        assert set(part.select("probe", "intensity").iter_rows()) == expected
        assert set(part["images"]) == {images}
        assert part["value"].is_finite().all()
        assert (part["low"] <= part["value"]).all()
    norms = table.filter(probe="weights")
    model = load_model(jobs("probe", "first").spec, weights["first"])
    flat = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    assert norms.filter(measure="norm")["value"].item() == pytest.approx(flat.norm().item())


@pytest.mark.parametrize("refresh", [True, False])
def test_probe_refreshes_statistics_where_the_study_says_so(done, tmp_path, refresh):
    _, _, data, weights = done
    energy = STUDY["minimisers"]["energy"] | {"refresh": refresh}
    job = job_of(load_study(changed("minimisers", "energy", energy)), "probe", "first")
    probe(job, **data["letters"], weights=weights["first"], minimisers=tmp_path / "p")
    found = read_table("minimisers", tmp_path / "p")
    assert found.filter(probe="energy")["refreshed"].unique().to_list() == [refresh]


def test_probe_sees_images_at_the_size_that_evaluation_gives_them(done, tmp_path):
    _, _, data, weights = done
    sized = changed("pretraining_recipes", "slow", "val_resize_size", 24)
    sized["pretraining_recipes"]["slow"]["val_crop_size"] = 20
    job = job_of(load_study(sized), "probe", "first")
    probe(job, **data["letters"], weights=weights["first"], minimisers=tmp_path / "p")
    clean = read_table("minimisers", tmp_path / "p").filter(probe="clean", split="test")
    source = SourceImages(job, seed=7, device=torch.device("cpu"), **data["letters"])
    assert source.test().images.shape[1:] == (3, 20, 20)
    rows = splits.split_rows(source.rows, "test")
    chosen = stratified(rows.labels, 16, 7, "test")
    images = LabelledImages(
        source.images,
        rows.rows[chosen],
        rows.labels[chosen],
        job.spec,
        torch.device("cpu"),
        job.recipe,
    )
    own = evaluate(load_model(job.spec, weights["first"]), images)
    assert clean.filter(measure="accuracy")["value"].item() == own.accuracy
    assert clean.filter(measure="loss")["value"].item() == pytest.approx(own.loss, rel=1e-5)


def test_probe_any_batch_size_gives_the_same_table(done, tmp_path):
    _, _, data, weights = done
    tables = []
    for size in (7, 64):
        jobs = partial(job_of, load_study(changed("minimisers", "sample", "batch_size", size)))
        output = tmp_path / f"{size}.parquet"
        probe(
            jobs("probe", "first"), **data["letters"], weights=weights["first"], minimisers=output
        )
        tables.append(read_table("minimisers", output))
    for name in ("value", "low", "high"):
        numpy.testing.assert_allclose(
            tables[0][name].to_numpy(), tables[1][name].to_numpy(), rtol=1e-4, atol=1e-6
        )
    accuracy = [table.filter(measure="accuracy")["value"].to_list() for table in tables]
    assert accuracy[0] == accuracy[1]


def test_path_ends_are_the_probed_figures_and_every_kind_is_there(done, tmp_path):
    _, jobs, data, weights = done
    outputs = {"distances": tmp_path / "distances.parquet", "paths": tmp_path / "paths.parquet"}
    path(
        jobs("path", "first", "second"),
        **data["letters"],
        first=weights["first"],
        second=weights["second"],
        **outputs,
    )
    ways = read_table("paths", outputs["paths"])
    assert set(ways["kind"]) == {"straight", "bezier", "low_loss"}
    for model, t in (("first", 0.0), ("second", 1.0)):
        probe(
            jobs("probe", model),
            **data["letters"],
            weights=weights[model],
            minimisers=tmp_path / "p",
        )
        clean = read_table("minimisers", tmp_path / "p").filter(probe="clean", measure="loss")
        for kind in ("straight", "bezier"):
            for split in ("train", "test"):
                own = ways.filter(kind=kind, split=split, t=t, refreshed=False)["loss"].item()
                assert own == pytest.approx(clean.filter(split=split)["value"].item(), rel=1e-5)
    # The barrier is that of the refreshed points above the line between the first and the last.
    for _, way in ways.group_by("kind", "split"):
        points = way.filter("refreshed").sort("t")
        for name in ("loss", "error"):
            line = numpy.interp(points["t"], points["t"][[0, -1]], points[name][[0, -1]])
            highest = max(0.0, (points[name] - line).max())
            assert way[f"{name}_barrier"].to_list() == pytest.approx([highest] * len(way))
    distances = read_table("distances", outputs["distances"])
    assert distances["normalisation"].to_list() == [True, False]
    assert (distances["distance"] > 0).all()


def test_probe_finetuned_measures_the_targets_test_images(done, tmp_path):
    folder, jobs, data, weights = done
    wildcards = ("shapes", "full", "first", "sgd", "0")
    files = {"weights": tmp_path / "w", "run": tmp_path / "r", "epochs": tmp_path / "e"}
    for name in ("predictions", "class_recalls", "validation_queries", "feature_correlation"):
        files[name] = tmp_path / name
    finetune(
        jobs("finetune", *wildcards),
        **data["shapes"],
        initial=weights["first"],
        checkpoint=folder / "c.pt",
        **files,
    )
    output = tmp_path / "o.parquet"
    whole = load_study(changed("minimisers", "sample", "test_images", None))
    probe_finetuned(
        job_of(whole, "probe_finetuned", *wildcards),
        **data["shapes"],
        weights=files["weights"],
        run=files["run"],
        minimisers=output,
    )
    table = read_table("minimisers", output)
    assert set(table["probe"]) == {"clean", "noise", "mask", "fgsm"}
    run = read_table("finetunes", files["run"])
    clean = table.filter(probe="clean")
    assert clean.filter(measure="accuracy")["value"].item() == run["test_accuracy"].item()
    assert clean.filter(measure="loss")["value"].item() == pytest.approx(
        run["test_loss"].item(), rel=1e-5
    )
    # Of a part of them, those that the study's seed draws.
    probe_finetuned(
        jobs("probe_finetuned", *wildcards),
        **data["shapes"],
        weights=files["weights"],
        run=files["run"],
        minimisers=output,
    )
    seen = read_table("predictions", files["predictions"]).filter(split="test")
    part = seen[stratified(seen["label"].to_numpy(), 16, 7, "test")]
    clean = read_table("minimisers", output).filter(probe="clean", measure="loss")
    expected = -part["probability_label"].log().mean()
    assert clean["value"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("part_by", ["classes", "images"])
def test_continual_evaluates_every_part_after_every_part(done, tmp_path, part_by):
    _, _, data, weights = done
    jobs = partial(job_of, load_study(changed("minimisers", "continual", "part_by", part_by)))
    output = tmp_path / "f.parquet"
    continual(
        jobs("continual", "shapes", "first", "0"),
        **data["shapes"],
        weights=weights["first"],
        checkpoint=tmp_path / "c.pt",
        forgetting=output,
    )
    table = read_table("forgetting", output)
    train = table.filter(split="train")
    assert sorted(train.select("trained", "part").iter_rows()) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert train.filter(trained=1)["images"].sum() == 4 * 19  # 30 less test and validation parts
    assert train.filter(polars.col("trained") < polars.col("part"))["forgotten"].to_list() == [None]
    assert train.filter(polars.col("trained") == polars.col("part"))["forgotten"].to_list() == [
        0,
        0,
    ]
    assert set(table["split"]) == ({"train", "test"} if part_by == "classes" else {"train"})
    assert not list(tmp_path.glob("c.pt*"))


def test_continual_killed_between_parts_ends_with_the_same_table(done, tmp_path, monkeypatch):
    _, jobs, data, weights = done
    job = jobs("continual", "shapes", "first", "0")

    def run(name):
        continual(
            job,
            **data["shapes"],
            weights=weights["first"],
            checkpoint=tmp_path / "c.pt",
            forgetting=tmp_path / name,
        )
        return read_table("forgetting", tmp_path / name)

    undisturbed = run("a")
    import xferpipe.stages.continual as module

    real, calls = module.fit, []

    def killed_in_second_part(*arguments, **options):
        calls.append(options["name"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, "fit", killed_in_second_part)
    with pytest.raises(KeyboardInterrupt):
        run("b")
    assert not (tmp_path / "b").exists()
    resumed = run("b")
    assert resumed.equals(undisturbed)
    assert len(calls) == 3  # the first part was not trained again


def test_with_forgotten_subtracts_from_when_the_part_was_learned():
    def row(trained, part, accuracy):
        return {"split": "train", "trained": trained, "part": part, "accuracy": accuracy}

    rows = [row(1, 1, 0.9), row(1, 2, 0.1), row(2, 1, 0.25), row(2, 2, 0.8)]
    assert [r.get("forgotten") for r in with_forgotten(rows)] == [0, None, 0.65, 0]


def test_stratified_takes_equally_from_every_class_whatever_the_order():
    labels = numpy.repeat([0, 1, 2], [50, 20, 3])
    chosen = stratified(labels, 23, 0, "test")
    counts = numpy.bincount(labels[chosen])
    assert counts.sum() == 23
    assert counts[2] == 3
    assert abs(counts[0] - counts[1]) == 0
    assert (numpy.diff(chosen) > 0).all()
    assert set(stratified(labels, 11, 0, "test")) <= set(chosen)
    # The class of the one that is left over is drawn, and not always the same.
    over = [numpy.bincount(labels[stratified(labels, 4, seed, "test")]) for seed in range(20)]
    assert {tuple(count) for count in over} == {(2, 1, 1), (1, 2, 1), (1, 1, 2)}
    assert len(stratified(labels, 1000, 0, "test")) == 73


def test_pairs_are_those_whose_weights_share_a_space():
    study = load_study(STUDY)
    assert study.minimisers.probed(study.zoo) == ["first", "second", "wide"]
    assert study.minimisers.pairs(study.zoo, study.pretraining_recipes) == [("first", "second")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("models", ["drawn"]), "'drawn' is no zoo entry with weights: pretrain"),
        (("paths", {"pairs": [["first", "wide"]]}), "differ in architecture"),
        (("paths", {"pairs": [["first", "drawn"]]}), "'drawn' is not among the probed"),
        (("paths", {"pairs": [["first", "first"]]}), "paired with itself"),
        (("continual", {"recipe": "none"}), "minimisers.continual.recipe: 'none'"),
        (("continual", {"recipe": "sgd", "models": ["drawn"]}), "continual.models: 'drawn'"),
        (("finetuned", ["none"]), "minimisers.finetuned: 'none'"),
    ],
)
def test_study_with_an_impossible_probe_is_refused(change, message):
    with pytest.raises(StudyError, match=message):
        load_study(changed("minimisers", *change))


def test_minimiser_jobs_are_those_that_the_study_names():
    def jobs(study, stage):
        return STAGES[stage].jobs(load_study(study))

    assert jobs(STUDY, "probe_finetuned") == [("shapes", "full", "first", "sgd", "0")]
    assert jobs(STUDY, "continual") == [("shapes", m, "0") for m in ("first", "second", "wide")]
    fewer = changed("minimisers", "finetuned", [])
    fewer["minimisers"]["continual"]["models"] = ["wide"]
    assert jobs(fewer, "probe_finetuned") == []
    assert jobs(fewer, "continual") == [("shapes", "wide", "0")]


def test_path_job_does_not_depend_on_the_other_pairs():
    one = partial(
        job_of, load_study(changed("minimisers", "paths", {"pairs": [["first", "second"]]}))
    )
    every = partial(job_of, load_study(changed("minimisers", "paths", {"pairs": "all"})))
    assert one("path", "first", "second") == every("path", "first", "second")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (("energy", {"sigmas": [0.3], "draws": 2}), {"probe"}),
        (("paths", {"points": 5, "steps": 3}), {"path"}),
        (("continual", {"recipe": "sgd", "parts": 3}), {"continual"}),
        (("confidence", 0.9), {"probe", "probe_finetuned"}),
        (("finetuned", []), set()),
    ],
)
def test_changed_value_changes_the_slices_of_the_jobs_that_read_it_alone(change, again):
    def slices(study):
        jobs = partial(job_of, load_study(study))
        return {
            "probe": jobs("probe", "first"),
            "path": jobs("path", "first", "second"),
            "probe_finetuned": jobs("probe_finetuned", "shapes", "full", "first", "sgd", "0"),
            "continual": jobs("continual", "shapes", "first", "0"),
        }

    before, after = slices(STUDY), slices(changed("minimisers", *change))
    assert {stage for stage in before if before[stage] != after[stage]} == again
