"""A rendered set in a real layout, listed and packed, and a small model to embed it with."""

import pytest

from xferpipe.config.datasets import GeneratedVehicles, Market1501, VehicleID, Veri776
from xferpipe.config.jobs import ManifestJob, ModelSpec, PackJob, RetrievalJob
from xferpipe.config.recipes import Recipe
from xferpipe.config.retrieval import Retrieval
from xferpipe.datasets.generated.vehicles import write
from xferpipe.stages.manifest import manifest
from xferpipe.stages.pack import pack
from xferpipe.stages.retrieval import retrieval
from xferpipe.zoo.build import build_model
from xferpipe.zoo.weights import save_weights

BLOCK = GeneratedVehicles(
    train_identities=3, test_identities=5, cameras=3, images_per_camera=2, image_px=16
)
DATASETS = {
    "veri776": Veri776(generate=BLOCK, image_px=16),
    "market1501": Market1501(generate=BLOCK, image_px=16),
    "vehicleid": VehicleID(generate=BLOCK, image_px=16, test_list=5),
}
SPEC = ModelSpec(architecture="cifar_resnet8", width=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
OUTPUTS = {
    **{name: name for name in ("retrieval", "queries", "ranked_lists", "camera_pairs", "picture")},
    **{name: f"{name}.parquet" for name in ("query_features", "gallery_features")},
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Folder with, for each layout, the set, its manifest and its packed images; and weights."""
    folder = tmp_path_factory.mktemp("retrieval")
    for reader, dataset in DATASETS.items():
        root = folder / reader
        write(reader, BLOCK, root, 0)
        rows = folder / f"{reader}.parquet"
        manifest(
            ManifestJob(name=reader, dataset=dataset, seed=0),
            root=root,
            manifest=rows,
            findings=rows.with_name("findings.parquet"),
        )
        pack(
            PackJob(dataset=dataset, seed=0),
            manifest=rows,
            root=root,
            images=folder / f"{reader}.npy",
        )
    save_weights(build_model(SPEC, 3), folder / "weights.safetensors")
    return folder


@pytest.fixture
def run(prepared, tmp_path):
    """Run the stage on one layout; returns the paths of what it wrote."""

    def run_stage(reader="veri776", *, weights=None, packed=True, recipe=None, **options):
        job = RetrievalJob(
            target_name="cars",
            dataset=DATASETS[reader],
            shots="full",
            model="small",
            spec=SPEC,
            recipe_name="plain",
            recipe=recipe or Recipe(),
            study_seed=0,
            seed=7,
            retrieval=Retrieval(**options),
            compute_threads=1,
            device="cpu",
        )
        paths = {name: tmp_path / file for name, file in OUTPUTS.items()}
        retrieval(
            job,
            manifest=prepared / f"{reader}.parquet",
            images=prepared / f"{reader}.npy" if packed else None,
            root=prepared / reader,
            weights=weights or prepared / "weights.safetensors",
            **paths,
        )
        return paths

    return run_stage
