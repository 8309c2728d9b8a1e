"""Files of other programs' evaluation codes, read as their writers mean them and never run."""

import json
import os
import pickle

import numpy
import pytest
import scipy.io
import torch
from tests.retrieval.test_retrieve_command import command, expected_of

from xferpipe.retrieval.feature_files import FeatureFileError, opened


@pytest.fixture
def sets():
    random = numpy.random.default_rng(6)
    return {
        name: {
            "feature": random.normal(size=(rows, 5)).astype(numpy.float32),
            "identity": random.integers(-1, 9, rows),
            "camera": random.integers(1, 4, rows),
        }
        for name, rows in (("query", 20), ("gallery", 70))
    }


def market(sets):
    """What the Market-1501 evaluation code writes: all six in one file, labels as rows."""
    return {
        f"{side}_{name}": columns[key] if key == "feature" else columns[key][None]
        for side, columns in sets.items()
        for name, key in (("f", "feature"), ("label", "identity"), ("cam", "camera"))
    }


def torchreid(sets):
    names = {"feature": "{}f", "identity": "{}_pids", "camera": "{}_camids"}
    return {
        form.format(side[0]): columns[key]
        for side, columns in sets.items()
        for key, form in names.items()
    }


@pytest.mark.parametrize("form", [market, torchreid])
@pytest.mark.parametrize("ending", [".mat", ".npz", ".pt"])
def test_retrieve_one_file_of_both_sides_has_their_figures(form, ending, sets, tmp_path):
    entries, path = form(sets), tmp_path / f"result{ending}"
    if ending == ".mat":
        scipy.io.savemat(path, entries)
    elif ending == ".npz":
        numpy.savez(path, **entries)
    else:
        torch.save({name: torch.from_numpy(value) for name, value in entries.items()}, path)
    result = command("--query", path, "--gallery", path, "--json")
    assert result.exit_code == 0, result.stderr
    found, expected = json.loads(result.stdout), expected_of(sets)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("ending", [".npz", ".pt", ".mat"])
def test_opened_one_side_with_names_and_paths(ending, sets, tmp_path):
    entries = {
        "features": sets["query"]["feature"].astype(numpy.float64),
        "pids": [f"whale {number}" for number in sets["query"]["identity"]],
        "path": [f"{row}.jpg" for row in range(20)],
    }
    path = tmp_path / f"query{ending}"
    if ending == ".npz":
        numpy.savez(path, **entries)
    elif ending == ".mat":
        scipy.io.savemat(path, entries | {"path": numpy.array(entries["path"], dtype=object)})
    else:
        torch.save(entries | {"features": torch.from_numpy(entries["features"])}, path)
    with opened(path) as file:
        assert (file.features == entries["features"]).all()
        assert file.labels["identity"].to_list() == entries["pids"]
        assert file.labels["path"].to_list() == entries["path"]
        assert file.labels["camera"].null_count() == 20


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("ending", [".pt", ".npz"])
def test_opened_nothing_in_a_file_is_run(ending, tmp_path):
    path, target = tmp_path / f"query{ending}", tmp_path / "ran"
    if ending == ".pt":
        torch.save({"feature": torch.ones(2, 2), "identity": Trap(target)}, path)
    else:
        numpy.savez(path, feature=numpy.ones((2, 2)), identity=numpy.array([Trap(target)] * 2))
    with pytest.raises(FeatureFileError, match="cannot be read"):
        opened(path).__enter__()
    assert not target.exists()
    path.write_bytes(pickle.dumps(Trap(target)))
    with pytest.raises(FeatureFileError, match="cannot be read"):
        opened(path).__enter__()
    assert not target.exists()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"weights": numpy.ones((2, 2))}, "no features of the query .it holds weights"),
        ({"feature": numpy.ones((2, 2)), "label": [1, 2, 3]}, "feature has 2 rows but label has 3"),
        ({"feature": numpy.ones((2, 2))}, "every row needs a value in column 'identity'"),
        ({"feature": numpy.ones(2), "label": [1, 2]}, "expected float16"),
        ({"feature": numpy.ones((2, 2), int), "label": [1, 2]}, "type int64"),
        ({"feature": numpy.ones((2, 2), complex), "label": [1, 2]}, "holds complex128"),
    ],
)
def test_opened_what_is_missing_or_does_not_fit_is_named(entries, message, tmp_path):
    numpy.savez(tmp_path / "query.npz", **entries)
    with pytest.raises(FeatureFileError, match=message):
        opened(tmp_path / "query.npz").__enter__()


def test_opened_pt_that_is_no_dict_and_damaged_files_are_named(tmp_path):
    torch.save(torch.ones(3, 3), tmp_path / "query.pt")
    with pytest.raises(FeatureFileError, match="holds Tensor; expected a dict"):
        opened(tmp_path / "query.pt").__enter__()
    for ending in (".pt", ".npz", ".mat"):
        (tmp_path / f"query{ending}").write_bytes(b"MATLAB no such thing" * 20)
        with pytest.raises(FeatureFileError, match="cannot be read"):
            opened(tmp_path / f"query{ending}").__enter__()
