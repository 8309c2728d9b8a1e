"""Where the weights of the picked runs lie, and how they are put to use."""

from __future__ import annotations

from dataclasses import dataclass

from xferpipe.config.catalogue import TIMM
from xferpipe.report.evidence import Evidence
from xferpipe.report.picked import Picked, picked_runs

#: Folder that `xferpipe export` is told to write where the study itself exports no model.
_FOLDER = "best_model"


@dataclass(frozen=True)
class Use:
    """How the picked model of one target is put to use.

    Attributes:
        place: Target, with its shots.
        run: The run in words.
        weights: File of its weights, beside the page: of the exported model, else of the run.
        commands: Lines for a shell.
        python: Lines of Python.
    """

    place: str
    run: str
    weights: str
    commands: tuple[str, ...]
    python: tuple[str, ...]


def uses(evidence: Evidence) -> list[Use]:
    """Return how the picked model of each target is put to use."""
    architectures = dict(evidence["zoo"].select("model", "architecture").iter_rows())
    return [
        _use(evidence, picked, architectures.get(picked.run["model"]) or "")
        for picked in picked_runs(evidence)
    ]


def _use(evidence: Evidence, picked: Picked, architecture: str) -> Use:
    run, study = picked.run, evidence.job.study
    recipe = evidence.job.recipes.get(run["recipe"])
    is_timm = (
        architecture.startswith(TIMM)
        and run["task"] == "classification"
        and (recipe is None or recipe.surgery is None)
    )
    place = f"{run['target']}/{run['shots']}"
    if (run["target"], run["shots"]) in evidence.job.exported:
        folder, commands = f"results/{study}/export/{place}", []
        weights = f"export/{place}/model.safetensors"
    else:
        folder = _FOLDER
        commands = [
            f"xferpipe export {run['target']} {folder} --shots {run['shots']} "
            f"--results results/{study}"
        ]
        weights = (
            f"finetune/{place}/{run['model']}/{run['recipe']}/seed{run['seed']}/weights.safetensors"
        )
    return Use(
        picked.place,
        picked.name,
        weights,
        commands=(*commands, f"xferpipe predict {folder} PHOTOS --output predictions.parquet"),
        python=python_lines(folder, is_timm=is_timm),
    )


def python_lines(folder: str, *, is_timm: bool) -> tuple[str, ...]:
    """Return five lines of Python that load an exported model and show it a photograph.

    Args:
        folder: Folder of the exported model.
        is_timm: Whether timm can build the model as it is.
    """
    if is_timm:
        return (
            "import timm",
            "from PIL import Image, ImageOps",
            f'model = timm.create_model("local-dir:{folder}", pretrained=True).eval()',
            "see = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            'print(model.pretrained_cfg["label_names"], model(see(ImageOps.exif_transpose('
            'Image.open("photo.jpg")).convert("RGB"))[None]).softmax(1))',
        )
    return (
        "from pathlib import Path",
        "import torch",
        "from xferpipe.handover.bundle import read_bundle",
        "from xferpipe.handover.predict import photographs, predict",
        f'print(predict(read_bundle(Path("{folder}")), photographs(Path("PHOTOS")), '
        'device=torch.device("cpu")))',
    )
