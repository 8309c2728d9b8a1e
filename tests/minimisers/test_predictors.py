from xferpipe.config.scores import PROPERTIES
from xferpipe.minimisers.predictors import property_rows
from xferpipe.records import empty, frame

MODELS = ("a", "b", "c", "d", "e", "f")


def minimiser_row(model, **values):
    row = {"phase": "pretrained", "dataset": "s", "model": model, "split": "test", "seed": 0}
    return row | {"low": 0.1, "high": 0.9, "images": 50, "seconds": 2.0} | values


def test_property_rows_point_the_way_that_is_thought_to_transfer():
    table = frame(
        "minimisers",
        [
            minimiser_row("a", probe="noise", intensity=0.2, measure="accuracy", value=0.6),
            minimiser_row("a", probe="noise", intensity=0.2, measure="loss", value=1.6),
            minimiser_row("a", probe="energy", intensity=0.1, measure="error", value=0.3),
            minimiser_row(
                "a", probe="weights", intensity=0.0, measure="norm", value=7.0, split=None
            ),
            minimiser_row("a", probe="noise", intensity=0.2, measure="accuracy", value=0.9)
            | {"phase": "finetuned"},
            minimiser_row("a", probe="fgsm", intensity=0.2, measure="accuracy", value=0.9)
            | {"split": "train"},
        ],
    )
    distances = frame(
        "distances",
        [
            {"first": "a", "second": "b", "normalisation": flag, "distance": d}
            for flag, d in ((True, 4.0), (False, 3.0))
        ]
        + [{"first": "c", "second": "a", "normalisation": True, "distance": 6.0}],
    )
    paths = frame(
        "paths",
        [
            {
                "first": "a",
                "second": "b",
                "kind": kind,
                "split": "test",
                "t": t,
                "loss_barrier": 0.5,
            }
            for kind in ("straight", "bezier")
            for t in (0.0, 1.0)
        ],
    )
    epochs = frame(
        "epochs",
        [
            {"stage": "pretrain", "model": "a", "epoch": e, "distance": d}
            | {"distance_without_normalisation": d - 1}
            for e, d in ((2, 9.0), (1, 5.0))
        ],
    )
    rows = property_rows(table, distances, paths, epochs, [("t", "full"), ("t", "5")])
    own = rows.filter(target="t", shots="5", model="a")
    found = {(m, v): x for m, v, x in own.select("method", "variant", "value").iter_rows()}
    assert found == {
        ("noise_accuracy", "0.2"): 0.6,
        ("local_energy", "error 0.1"): -0.3,
        ("weight_norm", "all"): -7.0,
        ("weight_travel", "all"): -9.0,
        ("weight_travel", "without_normalisation"): -8.0,
        ("weight_distance", "all"): -5.0,
        ("weight_distance", "without_normalisation"): -3.0,
        ("path_barrier", "loss"): -0.5,
    }
    assert set(own["method"]) <= set(PROPERTIES)
    energy = own.filter(method="local_energy").row(0, named=True)
    assert (energy["low"], energy["high"]) == (-0.9, -0.1)
    assert energy["seconds"] == 2.0
    assert rows.filter(shots="full").drop("shots").equals(rows.filter(shots="5").drop("shots"))


def test_property_that_is_not_finite_is_null_with_a_reason():
    rows = [
        minimiser_row("a", probe="energy", intensity=i, measure="loss", value=value)
        for i, value in ((0.1, 1.0), (0.2, float("inf")), (0.3, float("nan")))
    ]
    others = (empty(name) for name in ("distances", "paths", "epochs"))
    found = property_rows(frame("minimisers", rows), *others, [("t", "full")])
    assert found["value"].to_list() == [-1.0, None, None]
    assert found["reason"].to_list() == [None, *["the property is not finite"] * 2]


def test_property_rows_of_a_study_without_probes_are_none():
    tables = (empty(name) for name in ("minimisers", "distances", "paths", "epochs"))
    assert property_rows(*tables, [("t", "full")]).is_empty()
