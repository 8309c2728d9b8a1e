"""`compute` and the stage: intervals, ablation, costs, plug-ins, and what a score may read."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy
import polars
import pytest
from probe_data import CASES, made
from safetensors.numpy import save_file
from scipy.sparse.linalg import ArpackError

from xferpipe import scores
from xferpipe.config.jobs import ScoresJob
from xferpipe.config.scores import METHODS, Probe, Scores
from xferpipe.config.study import Target
from xferpipe.records import frame, read_table, write_table
from xferpipe.scores import compute
from xferpipe.scores.bootstrap import counts_of
from xferpipe.scores.measure import measured
from xferpipe.scores.registry import draws_of, resolve
from xferpipe.scores.spectrum import spectrum_of

DATA = CASES["unbalanced"]
#: Scores whose draws at once are those of images taken more than once.
RECOMPUTED = ["lfc", "lfc_centered", "leep", "nce"]


def test_config_default_methods_are_known() -> None:
    assert set(Scores().methods) <= set(METHODS)


@pytest.mark.parametrize("method", RECOMPUTED)
def test_draws_at_once_are_those_of_repeated_images(method: str) -> None:
    counts = counts_of(DATA.labels, 12, seed=3)
    first = DATA.source_probabilities if method in ("leep", "nce") else DATA.features
    found = draws_of(method)(first, DATA.labels, counts=counts)
    for weights, value in zip(counts, found, strict=True):
        rows = numpy.repeat(numpy.arange(len(weights)), weights)
        expected = resolve(method)(first[rows], DATA.labels[rows])
        expected = expected[""] if isinstance(expected, dict) else expected
        assert value == pytest.approx(expected, rel=1e-6)


def test_bootstrap_draws_keep_the_size_of_each_class() -> None:
    counts = counts_of(DATA.labels, 50, seed=0)
    for label in numpy.unique(DATA.labels):
        assert (counts[:, DATA.labels == label].sum(axis=1) == (DATA.labels == label).sum()).all()


def test_intervals_are_quantiles_of_the_draws_and_need_no_recomputation() -> None:
    probabilities = DATA.source_probabilities
    options = {"bootstrap_samples": 60, "seed": 3, "confidence": 0.8}
    table = compute(DATA.features, DATA.labels, None, probabilities, **options)
    with_interval = table.filter(polars.col("low").is_not_null())
    assert set(with_interval["method"]) == {*RECOMPUTED, "knn", "linear_probe"}
    counts = counts_of(DATA.labels, 60, seed=3)
    for method in RECOMPUTED:
        first = probabilities if method in ("leep", "nce") else DATA.features
        draws = draws_of(method)(first, DATA.labels, counts=counts)
        row = table.filter(method=method, variant="").row(0, named=True)
        ends = numpy.quantile(draws, [0.1, 0.9]) - draws.mean() + row["value"]
        assert (row["low"], row["high"]) == pytest.approx(ends.tolist(), abs=1e-9)


def test_interval_is_asked_for_by_name_where_draws_are_recomputed() -> None:
    table = compute(
        DATA.features,
        DATA.labels,
        ["transrate", "knn"],
        bootstrap_samples=15,
        bootstrap_methods=["transrate"],
    )
    assert table["low"].is_not_null().to_list() == [True, False]


def test_lfc_interval_has_the_spread_of_new_probes() -> None:
    values, widths = [], []
    for seed in range(120):
        probe = made((20, 20, 20), 12, seed=seed + 1)
        centres = made((20, 20, 20), 12, seed=0)
        shift = numpy.array([centres.features[centres.labels == c].mean(axis=0) for c in range(3)])
        features = probe.reference_features @ numpy.ones((7, 12)) * 0.05 + shift[probe.labels]
        features = features + numpy.random.default_rng(seed).standard_normal(features.shape)
        row = compute(features, probe.labels, ["lfc"], bootstrap_samples=100, confidence=0.9)
        values.append(row["value"][0])
        widths.append(row["high"][0] - row["low"][0])
    # 90 % of a Gaussian is 3.29 deviations wide, 80 % of it 2.56. The deviation of 120 probes is
    # known to 6 %.
    assert 0.85 < numpy.mean(widths) / (3.29 * numpy.std(values)) < 1.2


def test_probe_sizes_are_nested_and_named() -> None:
    table = compute(DATA.features, DATA.labels, ["knn"], probe_sizes=(2, 10, 100))
    assert table["variant"].to_list() == ["", "images_per_class=2", "images_per_class=10"]
    assert table["probe_images"].to_list() == [42, 8, 26]
    rows = numpy.sort(
        numpy.concatenate([numpy.flatnonzero(DATA.labels == c)[:2] for c in range(4)])
    )
    assert table["value"][1] == scores.knn(DATA.features[rows], DATA.labels[rows])


def test_scores_do_not_depend_on_the_names_or_order_of_labels() -> None:
    renamed = numpy.array([40, 3, 17, 8])[DATA.labels]
    for method in ("lfc", "h_score", "logme", "gbc_diagonal", "knn", "linear_probe", "sfda"):
        one, two = (compute(DATA.features, y, [method])["value"][0] for y in (DATA.labels, renamed))
        assert one == pytest.approx(two, rel=1e-9)


def test_measured_reports_seconds_and_the_memory_of_the_block() -> None:
    # Freed before the block, under one piece that stays: the process keeps it for what comes next.
    pieces = [numpy.ones(1_000) for _ in range(8_000)]
    del pieces[:-1]
    with measured() as cost:
        block = [numpy.ones(1_000) for _ in range(8_000)]
        del block
    assert cost.seconds > 0
    if cost.peak_bytes is not None:
        assert 6e7 < cost.peak_bytes < 1.2e8


SPECTRAL = ["h_score", "h_score_regularized", "transrate", "n_leep", "ncti", "pactran"]


@pytest.mark.parametrize("method", SPECTRAL)
def test_shared_spectrum_changes_no_value(method: str) -> None:
    data = made((12, 10, 14), 9)
    alone = resolve(method)(data.features, data.labels)
    table = compute(data.features, data.labels, ["h_score", method])
    found = dict(table.filter(method=method).select("variant", "value").iter_rows())
    assert found == (alone if isinstance(alone, dict) else {"": alone})


def test_shared_spectrum_is_made_once_and_counts_in_each_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_of = []

    def slow(features: numpy.ndarray):
        made_of.append(features)
        time.sleep(0.2)
        return spectrum_of(features - features.mean(axis=0))

    monkeypatch.setattr("xferpipe.scores.inputs.centred_spectrum", slow)
    table = compute(DATA.features, DATA.labels, ["h_score_regularized", "knn", "transrate", "ncti"])
    assert len(made_of) == 1
    spent = dict(table.select("method", "seconds").iter_rows())
    assert min(spent[name] for name in ("h_score_regularized", "transrate", "ncti")) >= 0.2
    assert spent["knn"] < 0.2


def test_torch_tensors_and_single_precision_are_taken() -> None:
    torch = pytest.importorskip("torch")
    features, labels = torch.tensor(DATA.features).float(), torch.tensor(DATA.labels)
    found = compute(features, labels, ["h_score"])["value"][0]
    assert found == pytest.approx(scores.h_score(DATA.features, DATA.labels), rel=1e-4)


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution with scores of its own, as far as Python can tell."""
    (tmp_path / "own_scores.py").write_text(
        textwrap.dedent(
            '''
            from xferpipe.scores import Undefined


            def mean_norm(features, labels):
                """Return the mean length of the features."""
                return float((features**2).sum(axis=1).mean() ** 0.5)


            def never(features, labels):
                raise Undefined("this score has no value on any data")
            '''
        )
    )
    folder = tmp_path / "own_scores-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: own-scores\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[xferpipe.scores]\nmean_norm = own_scores:mean_norm\nnever = own_scores:never\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_scores", None)


@pytest.mark.usefixtures("plug_in")
def test_plug_in_score_joins_by_entry_point() -> None:
    job = Scores(methods=("mean_norm", "never"))
    assert "own_scores" not in sys.modules, "checking a name must not import its code"
    table = compute(DATA.features, DATA.labels, job.methods)
    expected = numpy.sqrt((DATA.features**2).sum(axis=1).mean())
    assert table["value"][0] == pytest.approx(expected)
    assert table["value"][1] is None
    assert "no value on any data" in table["reason"][1]


def test_plug_in_that_is_not_installed_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"unknown score 'mean_norm'.*xferpipe\.scores"):
        Scores(methods=("mean_norm",))


def job(**options) -> ScoresJob:
    options = {
        "methods": ("lfc", "leep", "knn", "source_accuracy", "parameters", "random")
    } | options
    return ScoresJob(
        target="t", shots=5, model="m", scores=Scores(**options), seed=0, compute_threads=1
    )


def write_inputs(folder: Path, *, head: bool = True) -> dict[str, Path]:
    n = len(DATA.labels)
    logits = numpy.log(DATA.source_probabilities + 1e-9).astype(numpy.float32)
    save_file(
        {
            "features": DATA.features.astype(numpy.float32),
            "labels": DATA.labels.astype(numpy.int64),
            "rows": numpy.arange(n) * 2,
            "logits": logits if head else numpy.zeros((n, 0), numpy.float32),
        },
        folder / "features.safetensors",
        metadata={"seconds": "1.5"},
    )
    save_file(
        {
            "class_means": DATA.class_means.astype(numpy.float32),
            "class_counts": DATA.class_counts.astype(numpy.int64),
        },
        folder / "class_means.safetensors",
    )
    card = {"model": "m", "architecture": "x", "weights": "pretrain", "parameters": 77}
    write_table("zoo", frame("zoo", [card | {"source_accuracy": 0.8}]), folder / "card.parquet")
    return {
        "features": folder / "features.safetensors",
        "class_means": folder / "class_means.safetensors",
        "card": folder / "card.parquet",
    }


def test_stage_writes_the_table_of_the_job(tmp_path: Path) -> None:
    from xferpipe.stages.scores import scores as stage

    stage(job(), **write_inputs(tmp_path), scores=tmp_path / "scores.parquet")
    table = read_table("scores", tmp_path / "scores.parquet")
    assert table.select("target", "shots", "model").unique().rows() == [("t", "5", "m")]
    values = dict(table.filter(polars.col("variant") == "").select("method", "value").iter_rows())
    assert values["parameters"] == 77
    assert values["source_accuracy"] == 0.8
    assert values["leep"] == pytest.approx(
        scores.leep(DATA.source_probabilities, DATA.labels), rel=1e-5
    )
    assert values["random"] is None


def test_stage_without_a_source_head_has_no_leep(tmp_path: Path) -> None:
    from xferpipe.stages.scores import scores as stage

    stage(job(), **write_inputs(tmp_path, head=False), scores=tmp_path / "scores.parquet")
    table = read_table("scores", tmp_path / "scores.parquet")
    leep = table.filter(polars.col("method") == "leep")
    assert leep["value"][0] is None
    assert "no source head" in leep["reason"][0]


def test_stage_scores_a_sketch_of_two_halves_with_intervals(tmp_path: Path) -> None:
    from xferpipe.stages.scores import scores as stage

    n = len(DATA.labels)
    r = numpy.random.default_rng(0)
    halves = [DATA.features @ r.standard_normal((13, 400)) / 20 for _ in range(2)]
    grams = numpy.stack([half @ half.T for half in halves])
    save_file(
        {"gram:scalar=logit_sum,sketch=gaussian": grams, "rows": numpy.arange(n) * 2},
        tmp_path / "gradients.safetensors",
    )
    stage(
        job(methods=("lgc",), bootstrap_samples=20, probe_sizes=(2,)),
        **write_inputs(tmp_path),
        scores=tmp_path / "scores.parquet",
        gradients=tmp_path / "gradients.safetensors",
    )
    table = read_table("scores", tmp_path / "scores.parquet")
    name = "scalar=logit_sum,sketch=gaussian"
    found = {row["variant"]: row for row in table.iter_rows(named=True)}
    small = {f"{name},images_per_class=2", f"{name},corrected,images_per_class=2"}
    assert set(found) == {name, f"{name},corrected"} | small
    exact = scores.lgc({"": DATA.features @ DATA.features.T}, DATA.labels)[""]
    assert found[f"{name},corrected"]["value"] == pytest.approx(exact, abs=0.05)
    assert found[f"{name},corrected"]["low"] < found[f"{name},corrected"]["high"]


def test_stage_with_gradients_of_other_images_is_an_error(tmp_path: Path) -> None:
    from xferpipe.stages.scores import scores as stage

    n = len(DATA.labels)
    save_file(
        {"gram:scalar=ntk_trace": numpy.eye(n), "rows": numpy.arange(n)},
        tmp_path / "gradients.safetensors",
    )
    with pytest.raises(ValueError, match=r"gradients\.safetensors is of other images"):
        stage(
            job(methods=("lgc",)),
            **write_inputs(tmp_path),
            scores=tmp_path / "scores.parquet",
            gradients=tmp_path / "gradients.safetensors",
        )


def test_probe_never_takes_an_image_of_the_test_split() -> None:
    """Poison the test rows: the rows that scores see stay the same, and none is a test row."""
    from xferpipe.datasets.splits import probe_rows

    generator = numpy.random.default_rng(0)
    n = 300
    split = generator.choice(["train", "validation", "test"], n, p=[0.6, 0.1, 0.3])
    manifest = frame(
        "manifest",
        [
            {
                "row": i,
                "path": f"{i}.png",
                "label": int(generator.integers(5)),
                "class_name": "x",
                "split": str(split[i]),
            }
            for i in range(n)
        ],
    )
    test = polars.col("split") == "test"
    poisoned = manifest.with_columns(
        label=polars.when(test).then(4 - polars.col("label")).otherwise("label"),
        path=polars.when(test).then(polars.lit("poison")).otherwise("path"),
    )
    for shots in ("full", 5):
        target = Target(dataset="d")
        clean, dirty = (
            probe_rows(rows, target, shots, Probe(images_per_class=10), 0)
            for rows in (manifest, poisoned)
        )
        numpy.testing.assert_array_equal(clean.rows, dirty.rows)
        numpy.testing.assert_array_equal(clean.labels, dirty.labels)
        assert not set(split[clean.rows]) & {"test", "query", "gallery"}


def test_scores_of_one_model_do_not_change_when_another_joins(tmp_path: Path) -> None:
    """A model's scores are a function of its own files and the study's seed alone."""
    from xferpipe.stages.scores import scores as stage

    inputs = write_inputs(tmp_path)
    stage(job(), **inputs, scores=tmp_path / "one.parquet")
    other = job().model_copy(update={"model": "other"})
    stage(other, **inputs, scores=tmp_path / "other.parquet")
    stage(job(), **inputs, scores=tmp_path / "two.parquet")
    kept = ["method", "variant", "value", "reason", "low", "high", "probe_images"]
    one, two = (
        read_table("scores", tmp_path / f"{n}.parquet").select(kept) for n in ("one", "two")
    )
    assert one.equals(two)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no"), "it failed with ValueError: no"),
        (numpy.linalg.LinAlgError("SVD did not converge"), "LinAlgError: SVD did not converge"),
        (ArpackError(-9999), "it failed with ArpackError: ARPACK error -9999"),
        (MemoryError("Unable to allocate 11.9 GiB"), "memory does not suffice: Unable to allocate"),
        (ZeroDivisionError("division by zero"), "it failed with ZeroDivisionError"),
    ],
)
def test_score_that_fails_takes_no_other_with_it(monkeypatch, caplog, error, reason) -> None:
    def fail(features, labels):
        raise error

    monkeypatch.setattr("xferpipe.scores.coding_rate.transrate", fail)
    table = compute(DATA.features, DATA.labels, ["knn", "transrate", "logme"])
    assert table["method"].to_list() == ["knn", "transrate", "logme", "logme"]
    assert table["value"].is_null().to_list() == [False, True, False, False]
    assert reason in table["reason"][1]
    assert "transrate" in caplog.text


def test_interval_that_fails_leaves_the_value(monkeypatch, caplog) -> None:
    monkeypatch.setattr("xferpipe.scores.memory.available", lambda: 1000)
    table = compute(DATA.features, DATA.labels, ["lfc", "parc"], bootstrap_samples=20)
    assert table.filter(method="lfc", variant="")["value"][0] is not None
    assert table.filter(method="lfc")["low"].is_null().all()
    assert "LFC's interval over 42 images needs 7.06e-05 GB of memory" in caplog.text
    (parc,) = table.filter(method="parc").rows(named=True)
    assert parc["value"] is None
    assert "needs 5.64e-05 GB of memory, 1e-06 GB are free; give fewer images" in parc["reason"]


def test_memory_that_is_free_is_no_more_than_the_machine_has() -> None:
    import psutil

    from xferpipe.scores.memory import available

    assert 0 < available() <= psutil.virtual_memory().total


def test_limit_of_the_address_space_counts() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31));"
        "from xferpipe.scores.memory import available; print(available())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 1 << 31


@pytest.mark.parametrize(
    "labels",
    [
        (DATA.labels % 2).astype(bool),
        numpy.array([int(label) for label in DATA.labels], dtype=object),
        polars.Series(DATA.labels).cast(polars.Int128),
    ],
    ids=["bool", "object", "int128"],
)
def test_labels_of_any_integer_type_are_taken(labels) -> None:
    found = compute(DATA.features, labels, ["knn"])["value"][0]
    assert found == scores.knn(DATA.features, numpy.array([int(label) for label in labels]))


@pytest.mark.parametrize("kind", ["array", "objects", "list", "series", "categories"])
def test_labels_that_are_names_are_taken(kind) -> None:
    names = [["oak", "ash", "fir", "elm"][label] for label in DATA.labels]
    labels = {
        "array": numpy.array(names),
        "objects": numpy.array(names, dtype=object),
        "list": names,
        "series": polars.Series(names),
        "categories": polars.Series(names, dtype=polars.Categorical),
    }[kind]
    found = compute(DATA.features, labels, ["knn", "logme"])["value"].to_list()
    assert found == pytest.approx(
        compute(DATA.features, DATA.labels, ["knn", "logme"])["value"].to_list(), rel=1e-9
    )


@pytest.mark.parametrize("method", ["lfc", "lfc_centered"])
def test_draw_of_all_images_far_from_zero_is_the_score(method) -> None:
    """One draw that takes every image once: the score itself, to as many digits."""
    moved = DATA.features + numpy.geomspace(1, 1e6, DATA.features.shape[1])
    once = numpy.ones((1, len(DATA.labels)), dtype=int)
    expected = resolve(method)(moved, DATA.labels)
    expected = expected[""] if isinstance(expected, dict) else expected
    assert draws_of(method)(moved, DATA.labels, counts=once)[0] == pytest.approx(expected, rel=1e-6)
