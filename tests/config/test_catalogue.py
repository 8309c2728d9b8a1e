"""The committed table of pretrained models, held against what the libraries say."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from xferpipe.config.catalogue import catalogue, listed, read, written
from xferpipe.config.catalogue_sources import data_of_tag

ROWS = list(catalogue().values())
TIMM = [row for row in ROWS if row.architecture.startswith("timm:")]
TORCHVISION = [row for row in ROWS if not row.architecture.startswith("timm:")]


def test_every_statement_about_data_and_licence_has_a_source_and_unknown_is_empty():
    assert len(TIMM) > 1000
    assert len(TORCHVISION) > 100
    for row in ROWS:
        assert (row.data is None) == (row.data_source is None), row
        assert (row.licence is None) == (row.licence_source is None), row
        assert row.licence not in ("unknown", "other", ""), row
        assert row.source.split()[0] in ("timm", "torchvision"), row


def test_rows_of_timm_say_what_its_configuration_says():
    import timm

    if TIMM[0].source != f"timm {version('timm')}":
        pytest.skip("another timm than the table was made of")
    for row in TIMM:
        name = row.architecture.removeprefix("timm:")
        own = timm.get_pretrained_cfg(f"{name}.{row.weights}" if row.weights else name)
        assert (row.side, row.mean, row.std) == (own.input_size[1], tuple(own.mean), tuple(own.std))
        assert row.crop_pct == pytest.approx(own.crop_pct, rel=1e-9)
        assert row.licence == (None if own.license == "unknown" else own.license)


def test_rows_of_torchvision_resize_and_crop_as_its_transforms_do():
    from torchvision import models

    if TORCHVISION[0].source != f"torchvision {version('torchvision')}":
        pytest.skip("another torchvision than the table was made of")
    for row in TORCHVISION:
        how = models.get_model_weights(row.architecture)[row.weights].transforms()
        assert [row.side] == how.crop_size
        assert [int(row.side / row.crop_pct)] == how.resize_size
        assert (row.mean, row.std) == (tuple(how.mean), tuple(how.std))


@pytest.mark.parametrize(
    ("architecture", "in_all", "features"),
    [
        # Parameters in all as the papers and torchvision's page have them; 1000 classes.
        ("resnet18", 11_689_512, 512),
        ("timm:resnet18", 11_689_512, 512),
        ("resnet50", 25_557_032, 2048),
        ("vit_b_16", 86_567_656, 768),
    ],
)
def test_parameters_are_counted_without_the_classifier(architecture, in_all, features):
    assert listed(architecture).parameters == in_all - (features + 1) * 1000


def test_usual_weights_are_those_that_the_libraries_take_where_none_are_named():
    assert listed("resnet50").weights == "IMAGENET1K_V2"
    assert listed("timm:vit_base_patch14_dinov2").weights == "lvd142m"
    assert listed("timm:resnet18.gluon_in1k").weights == "gluon_in1k"
    assert listed("timm:resnet18", "gluon_in1k") is listed("timm:resnet18.gluon_in1k")
    assert listed("resnet51") is None
    usual = [row.architecture for row in ROWS if row.usual]
    assert len(usual) == len(set(usual)) == len({row.architecture for row in ROWS})


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("in1k", "ImageNet-1k"),
        ("augreg_in21k_ft_in1k", "ImageNet-21k, ImageNet-1k"),
        ("laion2b_ft_in12k_in1k", "LAION-2B, ImageNet-12k, ImageNet-1k"),
        ("miil_in21k_ft_in1k", "ImageNet-21K-P, ImageNet-1k"),
        ("ns_jft_in1k", "JFT-300M, ImageNet-1k"),
        ("lvd142m", "LVD-142M"),
        # What the first stage learned from is not in the tag.
        ("openai_ft_in1k", None),
        ("laion2b_ft_augreg_inat21", None),
        ("openai", None),
        ("", None),
    ],
)
def test_tag_is_read_only_where_every_stage_of_it_names_data(tag, data):
    found, source = data_of_tag(tag)
    assert found == data
    assert (source is None) == (data is None)


def test_table_is_read_as_it_was_written(tmp_path):
    import csv

    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(written(ROWS[0])))
        writer.writeheader()
        writer.writerows(map(written, ROWS))
    assert list(read(path)) == ROWS


def test_sides_are_told_as_they_are_taken():
    dinov2 = listed("timm:vit_base_patch14_dinov2")
    assert [side for side in (224, 225, 518, 519) if dinov2.takes(side)] == [224, 518]
    assert dinov2.sides() == "multiples of 14"
    siglip = listed("timm:vit_so400m_patch14_siglip_384")
    assert siglip.takes(384)
    assert siglip.sides() == "multiples of 14, or 384"
    assert listed("maxvit_t").sides() == "224 alone"
    assert not listed("alexnet").takes(62)
    assert listed("alexnet").sides() == "any from 63 on"
