"""The torchvision reader on sets written in their real formats."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct

import numpy
import polars
import pytest

from xferpipe.config.datasets import TorchvisionData
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.images import open_images


def noise(n, *shape, seed=0):
    return numpy.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=numpy.uint8)


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Write CIFAR-10's python batches with 20 images each, and tell torchvision their MD5."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    pixels, labels = {}, {}

    def put(name, content):
        raw = pickle.dumps(content)
        (folder / name).write_bytes(raw)
        return [name, hashlib.md5(raw).hexdigest()]

    def batch(seed):
        data = noise(20, 3072, seed=seed)
        values = [(i + seed) % 10 for i in range(20)]
        split = "test" if seed == 5 else "train"
        pixels.setdefault(split, []).append(data.reshape(-1, 3, 32, 32))
        labels.setdefault(split, []).extend(values)
        return {"data": data, "labels": values}

    names = [name for name, _ in CIFAR10.train_list]
    monkeypatch.setattr(
        CIFAR10, "train_list", [put(name, batch(seed)) for seed, name in enumerate(names)]
    )
    monkeypatch.setattr(CIFAR10, "test_list", [put(CIFAR10.test_list[0][0], batch(5))])
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse"]
    meta = put("batches.meta", {"label_names": [*names, "ship", "truck"]})
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": meta[1]})
    return (
        tmp_path / "cifar",
        {split: numpy.concatenate(blocks) for split, blocks in pixels.items()},
        labels,
    )


def test_torchvision_cifar10_batches_keep_pixels_labels_and_splits(cifar10, packing):
    root, pixels, labels = cifar10
    rows, images = packing(TorchvisionData(name="CIFAR10", root=root), root=root)
    assert rows["split"].value_counts().sort("split").rows() == [("test", 20), ("train", 100)]
    for split in ("train", "test"):
        part = rows.filter(polars.col("split") == split).sort("index")
        assert part["label"].to_list() == labels[split]
        assert (images[part["row"].to_numpy()] == pixels[split]).all()
    assert rows.filter(polars.col("label") == 3)["class_name"].unique().to_list() == ["cat"]


def test_torchvision_cifar10_changed_batch_is_not_unpickled(cifar10, listing):
    root, _, _ = cifar10
    victim = next(root.rglob("data_batch_3"))
    victim.write_bytes(victim.read_bytes() + b".")
    with pytest.raises(DatasetError, match=r"CIFAR10 in .*cannot be opened.*download: true"):
        listing(TorchvisionData(name="CIFAR10", root=root), root=root)


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(header + array.tobytes())


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_torchvision_mnist_idx_files_keep_pixels_and_labels(tmp_path, packing, name):
    raw = tmp_path / name / "raw"
    expected = {}
    for split, prefix, n in (("train", "train", 40), ("test", "t10k", 20)):
        pixels, labels = noise(n, 28, 28, seed=n), numpy.arange(n, dtype=numpy.uint8) % 10
        write_idx(raw / f"{prefix}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
        expected[split] = (pixels, labels)
    rows, images = packing(TorchvisionData(name=name, root=tmp_path, image_px=28), root=tmp_path)
    for split, (pixels, labels) in expected.items():
        part = rows.filter(polars.col("split") == split).sort("index")
        assert part["label"].to_list() == labels.tolist()
        assert (images[part["row"].to_numpy()] == pixels[:, None]).all()


def test_torchvision_svhn_matlab_files_are_read(tmp_path, packing, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    lists = dict(SVHN.split_list)
    for split in ("train", "test"):
        url, name, _ = lists[split]
        pixels, labels = noise(20, 32, 32, 3), numpy.arange(1, 21) % 10 + 1
        savemat(tmp_path / name, {"X": pixels.transpose(1, 2, 3, 0), "y": labels[:, None]})
        digest = hashlib.md5((tmp_path / name).read_bytes()).hexdigest()
        lists[split] = [url, name, digest]
    monkeypatch.setattr(SVHN, "split_list", lists)
    rows, images = packing(TorchvisionData(name="SVHN", root=tmp_path), root=tmp_path)
    part = rows.filter(polars.col("split") == "test").sort("index")
    # The files hold 10 for the digit nought; torchvision turns it into 0.
    assert part["label"].to_list() == ((numpy.arange(1, 21) % 10 + 1) % 10).tolist()
    assert (images[part["row"].to_numpy()] == pixels.transpose(0, 3, 1, 2)).all()


def test_torchvision_image_folder_lists_files_and_needs_no_packing(image_tree, listing):
    root = image_tree({"bee": 6, "ant": 6})
    rows = listing(TorchvisionData(name="ImageFolder", root=root), root=root)
    assert rows["index"].is_null().all()
    assert rows.filter(polars.col("label") == 0)["class_name"].unique().to_list() == ["ant"]
    assert rows["path"].str.starts_with("bee/").sum() == 6
    assert open_images(rows, None, root, 8).batch([0, 11]).shape == (2, 3, 8, 8)
    assert set(rows["split"]) == {"train", "test"}


def test_torchvision_eurosat_links_to_other_disks_keep_their_names(tmp_path, listing, write_image):
    real = tmp_path / "elsewhere"
    folder = tmp_path / "set" / "eurosat" / "2750"
    for number, name in enumerate(["Forest", "River"]):
        (folder / name).mkdir(parents=True)
        for i in range(5):
            target = write_image(real / f"{name}{i}.jpg", seed=10 * number + i)
            (folder / name / f"{name}_{i}.jpg").symlink_to(target)
    root = tmp_path / "set"
    rows = listing(TorchvisionData(name="EuroSAT", root=root), root=root)
    assert rows["path"].null_count() == 0
    assert rows["path"].str.starts_with("eurosat/2750/").sum() == len(rows) == 10


def test_torchvision_flowers_three_official_splits_are_used(tmp_path, listing, write_image):
    from scipy.io import savemat

    folder = tmp_path / "flowers-102"
    for i in range(1, 13):
        write_image(folder / "jpg" / f"image_{i:05d}.jpg", seed=i)
    savemat(folder / "imagelabels.mat", {"labels": numpy.array([[1, 2] * 6])})
    ids = {"trnid": [1, 2, 3, 4, 5, 6], "valid": [7, 8], "tstid": [9, 10, 11, 12]}
    savemat(folder / "setid.mat", {name: numpy.array([value]) for name, value in ids.items()})
    import torchvision.datasets.flowers102 as module

    original, module.check_integrity = module.check_integrity, lambda *_: True
    try:
        rows = listing(TorchvisionData(name="Flowers102", root=tmp_path), root=tmp_path)
    finally:
        module.check_integrity = original
    assert rows["split"].value_counts().sort("split").rows() == [
        ("test", 4),
        ("train", 6),
        ("validation", 2),
    ]
    assert rows["label"].n_unique() == 2
    assert rows.filter(polars.col("split") == "validation")["path"].to_list() == [
        "flowers-102/jpg/image_00007.jpg",
        "flowers-102/jpg/image_00008.jpg",
    ]


@pytest.mark.parametrize(("kind", "labels"), [("category", [0, 1, 2]), ("binary-category", [0, 1])])
def test_torchvision_pets_labels_are_those_of_the_targets_asked_for(
    tmp_path, listing, write_image, kind, labels
):
    """The class lists breeds; asked for cat or dog, it gives others than it lists."""
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for split in ("trainval", "test"):
        lines = []
        for breed, (name, species) in enumerate([("Abyssinian", 1), ("Beagle", 2), ("Pug", 2)]):
            for i in range(3):
                image = f"{name}_{split}{i}"
                write_image(folder / "images" / f"{image}.jpg", seed=10 * breed + i)
                lines.append(f"{image} {breed + 1} {species} 1")
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines))
    dataset = TorchvisionData(
        name="OxfordIIITPet", root=tmp_path, options={"target_types": kind}, pack=False
    )
    rows = listing(dataset, root=tmp_path)
    assert sorted(rows["label"].unique()) == labels
    beagles = rows.filter(polars.col("path").str.contains("Beagle"))
    assert beagles["label"].unique().to_list() == [1]
    assert rows["split"].value_counts().sort("split").rows() == [("test", 9), ("train", 9)]


def test_torchvision_images_that_are_not_their_files_are_taken_from_the_set(
    image_tree, packing, monkeypatch
):
    """A class that crops what it reads must not be read past."""
    from torchvision import datasets

    class Cropped(datasets.ImageFolder):
        def __init__(self, root):
            super().__init__(root)

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image.crop((2, 2, 12, 12)), label

    monkeypatch.setattr(datasets, "Cropped", Cropped, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Cropped"))
    root = image_tree({"a": 5, "b": 5})
    rows, images = packing(TorchvisionData(name="Cropped", root=root, image_px=10), root=root)
    assert rows["path"].null_count() == len(rows)
    original = Cropped(root)
    for row, index in rows.select("row", "index").rows():
        expected = numpy.asarray(original[index][0]).transpose(2, 0, 1)
        assert (images[row] == expected).all()


def test_torchvision_fake_data_without_splits_is_split(packing):
    options = {"size": 60, "image_size": (3, 24, 24), "num_classes": 3}
    rows, images = packing(TorchvisionData(name="FakeData", root=".", options=options, image_px=24))
    from torchvision.datasets import FakeData

    original = FakeData(**options)
    for row, index, label in rows.select("row", "index", "label").head(5).rows():
        image, target = original[index]
        assert label == target
        assert (images[row] == numpy.asarray(image).transpose(2, 0, 1)).all()
    assert 10 <= (rows["split"] == "test").sum() <= 14


def test_torchvision_own_split_arguments_override(listing):
    rows = listing(
        TorchvisionData(
            name="FakeData",
            root=".",
            options={"image_size": (3, 8, 8), "num_classes": 2},
            splits={"test": {"size": 10, "random_offset": 99}, "train": {"size": 30}},
        )
    )
    assert rows["split"].value_counts().sort("split").rows() == [("test", 10), ("train", 30)]
    assert rows.filter(polars.col("split") == "train")["index"].to_list() == list(range(30))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Cifar10"}, r"no data set 'Cifar10' .*; allowed: .*CIFAR10"),
        ({"name": "VisionDataset2"}, "no data set"),
        ({"name": "CIFAR10"}, r"CIFAR10 in .*not found.*download: true"),
        ({"name": "ImageNet"}, "ImageNet in .*cannot be opened"),
        ({"name": "FakeData", "options": {"sizes": 3}}, "unexpected keyword.*correct 'options'"),
        ({"name": "EMNIST"}, "split"),
    ],
)
def test_torchvision_absent_or_misnamed_set_is_explained(tmp_path, listing, arguments, message):
    with pytest.raises(DatasetError, match=message):
        listing(TorchvisionData(root=tmp_path, **arguments), root=tmp_path)


def test_torchvision_targets_that_are_no_class_are_refused(tmp_path, listing, write_image):
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    write_image(folder / "JPEGImages" / "one.jpg")
    write_image(folder / "SegmentationClass" / "one.png")
    for name in ("train", "val"):
        lists = folder / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{name}.txt").write_text("one\n")
    with pytest.raises(DatasetError, match=r"its targets are PngImageFile .*classification target"):
        listing(TorchvisionData(name="VOCSegmentation", root=tmp_path))
