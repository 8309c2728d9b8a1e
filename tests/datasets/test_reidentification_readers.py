"""The real readers on rendered vehicles in the real layouts."""

from pathlib import Path

import numpy
import polars
import pytest

from xferpipe.config.datasets import GeneratedVehicles, Market1501, VehicleID, Veri776
from xferpipe.config.jobs import ManifestJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.generated.vehicles import write
from xferpipe.datasets.manifest import read_manifest
from xferpipe.datasets.readers import reader_module, vehicleid, veri776
from xferpipe.stages.manifest import manifest

BLOCK = GeneratedVehicles(train_identities=4, test_identities=3, cameras=3, images_per_camera=2)
DATASETS = {
    "veri776": Veri776(generate=BLOCK),
    "market1501": Market1501(generate=BLOCK),
    "vehicleid": VehicleID(generate=BLOCK, test_list=3, galleries=5),
}


@pytest.fixture
def written(tmp_path):
    def write_layout(reader):
        write(reader, BLOCK, tmp_path / reader, 0)
        return tmp_path / reader

    return write_layout


def read(reader, root, **changes):
    dataset = DATASETS[reader].model_copy(update=changes)
    return reader_module(reader).read(dataset, root=root, seed=0)


def manifest_of(reader, root, tmp_path):
    job = ManifestJob(name="cars", dataset=DATASETS[reader], seed=0)
    files = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "findings")}
    manifest(job, root=root, **files)
    return read_manifest(tmp_path / "manifest.parquet")


@pytest.mark.parametrize("reader", list(DATASETS))
def test_files_of_a_reader_are_those_it_reads_without_hidden_ones(reader, written):
    root = written(reader)
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        (folder / "._0001_c001_00000001_0.jpg").write_bytes(b"left by a Mac")
    dataset = DATASETS[reader].model_copy(update={"root": root, "generate": None})
    # `read` of a set with `generate` is not held against the published counts.
    rows = read(reader, root)
    counted = {path for path in reader_module(reader).files(dataset) if path.endswith(".jpg")}
    dropped = {path for path in counted if "/-1_" in path}
    assert counted - dropped == set(rows["path"])


@pytest.mark.parametrize("reader", list(DATASETS))
def test_read_generated_layout_has_its_counts_and_labels(reader, written, tmp_path):
    rows = manifest_of(reader, written(reader), tmp_path)
    counts = dict(rows.group_by("split").len().iter_rows())
    assert (
        counts
        == {
            "veri776": {"train": 24, "query": 9, "gallery": 18},
            # Each camera adds one background image; the leftovers of identity -1 are dropped.
            "market1501": {"train": 24, "query": 9, "gallery": 18 + 3},
            "vehicleid": {"train": 24, "query": 15, "gallery": 3},
        }[reader]
    )
    train = rows.filter(polars.col("split") == "train")
    assert train.select("label", "identity").unique().sort("label").rows() == [
        (0, 1), (1, 2), (2, 3), (3, 4)
    ]  # fmt: skip
    assert rows.filter(polars.col("split") != "train")["label"].null_count() == len(rows) - 24
    cameras = rows["camera"].drop_nulls().unique().sort().to_list()
    assert cameras == ([] if reader == "vehicleid" else [1, 2, 3])


@pytest.mark.parametrize("reader", ["veri776", "market1501"])
def test_read_numbers_in_the_folders_above_mean_nothing(reader, written, tmp_path):
    """A pattern on the whole path would read these."""
    root = written(reader).rename(tmp_path / "0999_c009_00000001_0")
    assert read(reader, root)["identity"].max() < 999


@pytest.mark.parametrize("reader", ["veri776", "market1501"])
def test_read_order_of_the_file_system_does_not_matter(reader, written, monkeypatch):
    root = written(reader)
    expected = read(reader, root)
    ordered = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(ordered(self), reverse=True))
    assert read(reader, root).equals(expected)


@pytest.mark.parametrize(
    ("reader", "folder", "name"),
    [
        ("veri776", "image_query", "0002_00030600_0.jpg"),
        ("veri776", "image_train", "0002_c002_00030600_0 (copy).jpg"),
        ("market1501", "bounding_box_test", "person.jpg"),
    ],
)
def test_read_unreadable_name_is_named_with_the_expected_form(reader, folder, name, written):
    root = written(reader)
    (root / folder / name).touch()
    with pytest.raises(DatasetError, match=r"1 of \d+ names cannot be read: ") as error:
        read(reader, root)
    assert name in str(error.value)
    assert "expected the form of" in str(error.value)


@pytest.mark.parametrize("reader", list(DATASETS))
def test_read_missing_folder_says_what_is_there(reader, tmp_path):
    (tmp_path / "VeRi").mkdir()
    with pytest.raises(DatasetError, match=r"no such folder \(in .*: VeRi\); set 'root'"):
        read(reader, tmp_path)


def test_read_empty_folder_is_an_error(written):
    root = written("veri776")
    for path in (root / "image_query").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="image_query: no images"):
        read("veri776", root)


def test_market_keeps_background_and_drops_leftovers(written):
    root = written("market1501")
    assert len(list((root / "bounding_box_test").glob("-1_*"))) == 3
    gallery = read("market1501", root).filter(polars.col("split") == "gallery")
    assert gallery.filter(polars.col("identity") == 0).height == 3
    assert gallery["identity"].min() == 0


@pytest.mark.parametrize("reader", list(DATASETS))
def test_read_a_part_of_the_published_set_is_said(reader, written, caplog):
    """Read as the real set, the rendered one has too few images: a warning with both counts."""
    root = written(reader)
    update = {"generate": None}
    if reader == "vehicleid":
        (root / "train_test_split/test_list_3.txt").rename(
            root / "train_test_split/test_list_800.txt"
        )
        update["test_list"] = 800
    read(reader, root, **update)
    published = {"veri776": "37778 of 576", "market1501": "12936 of 751", "vehicleid": "113346"}
    assert f"train has 24 images of 4 identities, published are {published[reader]}" in caplog.text


def test_index_lists_are_the_camera_rule_on_a_generated_set(written, tmp_path):
    root = written("veri776")
    rows = manifest_of("veri776", root, tmp_path)
    query = rows.filter(polars.col("split") == "query")
    gallery = rows.filter(polars.col("split") == "gallery")
    positives, junk = veri776.index_lists(root, query["path"].to_list(), gallery["path"].to_list())
    for row, own, left in zip(query.iter_rows(named=True), positives, junk, strict=True):
        same = (gallery["identity"] == row["identity"]).to_numpy()
        here = (gallery["camera"] == row["camera"]).to_numpy()
        assert own.tolist() == numpy.flatnonzero(same & ~here).tolist()
        assert left.tolist() == numpy.flatnonzero(same & here).tolist()


def test_index_lists_of_a_cut_gallery_follow_the_names(written, tmp_path):
    """`maximum_images_per_class` removes rows; positions still mean the same images."""
    root = written("veri776")
    rows = manifest_of("veri776", root, tmp_path)
    query = rows.filter(polars.col("split") == "query")["path"].to_list()
    gallery = rows.filter(polars.col("split") == "gallery")["path"].to_list()
    whole, _ = veri776.index_lists(root, query, gallery)
    cut = gallery[::-2]
    part, _ = veri776.index_lists(root, query, cut)
    for before, after in zip(whole, part, strict=True):
        names = {gallery[row] for row in before} & set(cut)
        assert {cut[row] for row in after} == names


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("gt_index.txt", None, "same_camera does not"),
        ("gt_index.txt", "1 2\n", "has 1 lines, expected one for each of 9 queries"),
        ("jk_index.txt", "1 x\n" * 9, "not a list of positions"),
        ("jk_index.txt", "19\n" * 9, "position 19 is outside 1 to 18"),
        ("jk_index.txt", "0\n" * 9, "position 0 is outside 1 to 18"),
        ("name_query.txt", "0009_c001_00000000_0.jpg\n", "does not list"),
    ],
)
def test_index_lists_wrong_files_are_named(file, content, message, written):
    root = written("veri776")
    if content is None:
        (root / file).unlink()
    else:
        (root / file).write_text(content)
    names = sorted(path.name for path in (root / "image_query").iterdir())
    gallery = sorted(path.name for path in (root / "image_test").iterdir())
    with pytest.raises(DatasetError, match=message):
        veri776.index_lists(root, names, gallery)


def test_galleries_have_one_image_of_each_identity_and_differ(written, tmp_path):
    rows = manifest_of("vehicleid", written("vehicleid"), tmp_path)
    draws = list(vehicleid.galleries(DATASETS["vehicleid"], rows, seed=0))
    assert len(draws) == 5
    identity = rows["identity"].to_numpy()
    for query, gallery in draws:
        assert sorted(identity[gallery]) == [5, 6, 7]
        assert len(query) == 15
        assert not set(query) & set(gallery)
    assert len({tuple(gallery) for _, gallery in draws}) > 1
    first = rows.filter(polars.col("split") == "gallery")["row"].to_list()
    assert draws[0][1].tolist() == first


def test_galleries_depend_on_the_seed_and_not_on_the_order_of_rows(written, tmp_path):
    rows = manifest_of("vehicleid", written("vehicleid"), tmp_path)
    dataset = DATASETS["vehicleid"]

    def galleries(manifest, seed):
        return [own.tolist() for _, own in vehicleid.galleries(dataset, manifest, seed=seed)]

    assert galleries(rows, 0) == galleries(rows.sample(fraction=1, shuffle=True, seed=1), 0)
    assert galleries(rows, 0) != galleries(rows, 1)


def test_galleries_every_image_is_drawn_sometimes(written, tmp_path):
    rows = manifest_of("vehicleid", written("vehicleid"), tmp_path)
    many = DATASETS["vehicleid"].model_copy(update={"galleries": 200})
    drawn = numpy.concatenate([own for _, own in vehicleid.galleries(many, rows, seed=0)])
    _, counts = numpy.unique(drawn, return_counts=True)
    # 6 images of an identity, 200 draws: 33 each, and 15 to 51 is beyond three deviations.
    assert len(counts) == 18
    assert 15 <= counts.min() <= counts.max() <= 51


def test_vehicleid_identity_with_one_image_is_gallery_and_asks_nothing(written):
    root = written("vehicleid")
    lists = root / "train_test_split/test_list_3.txt"
    lines = lists.read_text().splitlines()
    lists.write_text("\n".join([*lines[:12], lines[12]]) + "\n")
    rows = read("vehicleid", root)
    single = rows.filter(polars.col("identity") == 7)
    assert single["split"].to_list() == ["gallery"]


@pytest.mark.parametrize(
    ("line", "message"),
    [("0000001", "1 lines cannot be read: 0000001"), ("0000001 car", "0000001 car")],
)
def test_vehicleid_unreadable_line_is_named(line, message, written):
    root = written("vehicleid")
    with (root / "train_test_split/train_list.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DatasetError, match=message):
        read("vehicleid", root)


def test_vehicleid_missing_list_names_those_there(written):
    with pytest.raises(DatasetError, match=r"there: test_list_3.txt"):
        read("vehicleid", written("vehicleid"), test_list=1600)


def test_manifest_listed_image_that_is_missing_is_named(written, tmp_path):
    root = written("vehicleid")
    (root / "image/0000007.jpg").unlink()
    with pytest.raises(
        DatasetError, match=r"0000007\.jpg: missing file, 1 of 42 image files;\nrestore it"
    ):
        manifest_of("vehicleid", root, tmp_path)
