"""The expert stage: every domain becomes a zoo entry of its own."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from xferpipe.config.jobs import ExpertJob
from xferpipe.records import read_table
from xferpipe.stages.expert import expert
from xferpipe.stages.pretrain import PretrainingError
from xferpipe.zoo.weights import load_model


def run(stages, **options):
    base = stages.jobs("pretrain", "trained")
    sources = ("source", "digits")
    given = {name: stages.images(name) for name in sources}
    job = ExpertJob(
        expert="both",
        spec=base.spec,
        models={name: f"both_{name}" for name in sources},
        datasets={name: stages.jobs("pack", name).dataset for name in sources},
        images_per_domain=48,
        recipe_name="upstream",
        recipe=base.recipe,
        seed=0,
        compute_threads=1,
        device="cpu",
        **{"mode": "multi_bn", **options},
    )
    expert(
        job,
        manifests={name: given[name]["manifest"] for name in sources},
        images={name: given[name]["images"] for name in sources},
        roots=dict.fromkeys(sources),
        initial=None,
        checkpoint=stages.folder / "checkpoint.pt",
        domains=stages.folder,
        epochs=stages.folder / "epochs.parquet",
    )
    return job, sources


def test_expert_writes_a_zoo_entry_of_each_domain(stages):
    job, sources = run(stages)
    states = []
    for name in sources:
        card = read_table("zoo", stages.folder / name / "card.parquet").row(0, named=True)
        assert (card["model"], card["source"], card["weights"]) == (
            f"both_{name}",
            name,
            "expert:multi_bn",
        )
        assert 0 <= card["source_accuracy"] <= 1
        means = load_file(stages.folder / name / "class_means.safetensors")
        assert int(means["class_counts"].sum()) == card["source_images"]
        states.append(load_model(job.spec, stages.folder / name / "weights.safetensors"))
    one, other = (model.state_dict() for model in states)
    assert torch.equal(one["layer1.0.conv1.weight"], other["layer1.0.conv1.weight"])
    assert not torch.equal(one["bn1.running_mean"], other["bn1.running_mean"])
    assert len(read_table("epochs", stages.folder / "epochs.parquet")) == 2
    assert not (stages.folder / "checkpoint.pt").exists()


def test_expert_that_diverges_is_an_error_and_no_zoo_entry(stages):
    stages.study["pretraining_recipes"]["upstream"] |= {"lr": 1e30, "momentum": 0.0}
    with pytest.raises(PretrainingError, match="expert 'both' diverged"):
        run(stages)
    assert not (stages.folder / "source").exists()
