"""All options of a ranking at once, on small random files, against loops in float64."""

import json

import numpy
import polars
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.test_published_protocols import assert_same, squared, transcribed

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.feature_files import FeatureFile
from xferpipe.retrieval.files import ranked_files


@st.composite
def cases(draw):
    random = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([1.0, 1e-2, 1e-3]))
    modes = random.normal(size=(2, 8))
    sides = []
    for rows in (draw(st.integers(2, 8)), draw(st.integers(4, 24))):
        identity = random.integers(-1, 4, rows)
        centre = modes[identity % 2] + spread * numpy.cos(identity[:, None] * numpy.arange(1, 9))
        sides.append(
            {
                "feature": centre + 0.5 * spread * random.normal(size=(rows, 8)),
                "identity": identity,
                "camera": random.integers(0, 3, rows),
                "track": 10 * identity + random.integers(0, 2, rows),
            }
        )
    return {
        "sides": sides,
        "distance": draw(st.sampled_from(["euclidean", "cosine"])),
        "ap_kind": draw(st.sampled_from(["step", "trapezoid"])),
        "junk_rule": draw(st.sampled_from(["same_camera", "none"])),
        "drop": draw(st.booleans()),
        "pool": draw(st.sampled_from([None, "track", "multi"])),
    }


def unit(features):
    return features / numpy.linalg.norm(features, axis=-1, keepdims=True)


def grouped(side, key):
    members = {}
    for row in range(len(side["identity"])):
        members.setdefault(tuple(side[name][row] for name in key), []).append(row)
    rows = list(members.values())
    camera = [set(side["camera"][own].tolist()) for own in rows]
    return {
        # As the product keeps it: float64 features stay float64.
        "feature": numpy.stack([unit(side["feature"][own]).mean(0) for own in rows]),
        "identity": numpy.array([side["identity"][own[0]] for own in rows]),
        "camera": [one.pop() if len(one) == 1 else None for one in camera],
    }


def by_hand(case):
    query, gallery = case["sides"]
    if case["drop"]:
        query, gallery = (
            {name: values[side["identity"] != -1] for name, values in side.items()}
            for side in (query, gallery)
        )
    if case["pool"] == "track":
        query, gallery = grouped(query, ["track"]), grouped(gallery, ["track"])
    if case["pool"] == "multi":
        query = grouped(query, ["identity", "camera"])
    features = [side["feature"] for side in (query, gallery)]
    if case["distance"] == "cosine":
        features = [unit(one) for one in features]
    good, junk = [], []
    for identity, camera in zip(query["identity"], query["camera"], strict=True):
        same = {j for j, other in enumerate(gallery["identity"]) if other == identity}
        left_out = case["junk_rule"] == "same_camera" and camera is not None
        own = {j for j in same if left_out and gallery["camera"][j] == camera}
        good.append(same - own)
        junk.append(own)
    return transcribed(squared(*features), good, junk, case["ap_kind"])


def usable(case):
    """Both sides keep rows, and cameras where the rule wants them."""
    for side in case["sides"]:
        kept = side["identity"] != -1 if case["drop"] else side["identity"] > -2
        if not kept.any():
            return False
    return not case["drop"] or any((side["identity"] == -1).any() for side in case["sides"])


@settings(max_examples=500, deadline=None)
@given(case=cases())
def test_ranked_files_equal_float64_whatever_the_options(case):
    if not usable(case):
        return
    expected = by_hand(case)
    files = [
        FeatureFile(
            side["feature"],
            polars.DataFrame(
                {name: side[name] for name in ("identity", "camera", "track")}
            ).with_columns(
                polars.lit(None, polars.Int64).alias("sequence"),
                polars.lit(None, polars.String).alias("path"),
                polars.int_range(polars.len(), dtype=polars.Int64).alias("row"),
            ),
        )
        for side in case["sides"]
    ]
    options = Retrieval(distance=case["distance"], ap_kind=case["ap_kind"], normalised=False)
    try:
        found = ranked_files(
            *files,
            options,
            junk_rule=case["junk_rule"],
            drop_identities=["-1"] if case["drop"] else [],
            track="track" if case["pool"] == "track" else None,
            multi_query=case["pool"] == "multi",
            lists=False,
        )
    except ValueError as error:
        found, message = None, str(error)
    if found is None:
        assert expected is None or "needs" in message, message
        return
    assert_same(json.loads(json.dumps(found.figures[0])), expected)
