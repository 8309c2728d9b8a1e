"""Laws of the samplers: what an epoch shows, and that it can begin anywhere."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe.config.recipes import Recipe
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.samplers import (
    BalancedDomains,
    IdentityBatches,
    Replacement,
    Shuffle,
    sampler,
    warnings,
)

LAWS = settings(max_examples=50, deadline=None)


def flat(batches):
    return numpy.concatenate(list(batches)) if batches else numpy.empty(0, dtype=int)


@LAWS
@given(n=st.integers(1, 200), batch_size=st.integers(1, 64), epoch=st.integers(0, 5))
def test_shuffle_an_epoch_shows_every_image_once(n, batch_size, epoch):
    order = Shuffle(n, batch_size, seed=1)
    batches = list(order.batches(epoch))
    shown = flat(batches)
    assert len(batches) == len(order)
    assert len(set(shown.tolist())) == len(shown)
    left_out = n - len(shown)
    # Only a last batch of a single image is left out, and never the only batch.
    assert left_out == (1 if n % batch_size == 1 and n > 1 and batch_size > 1 else 0) or (
        batch_size == 1 and left_out == 0
    )
    assert shown.min() >= 0
    assert shown.max() < n


SAMPLERS = [
    lambda seed: Shuffle(53, 8, seed=seed),
    lambda seed: Shuffle(53, 8, seed=seed, repeats=4),
    lambda seed: Replacement(53, 64, seed=seed),
    lambda seed: IdentityBatches(numpy.arange(53) % 7, 12, 3, seed=seed),
    lambda seed: BalancedDomains(numpy.repeat([0, 1, 2], [40, 10, 3]), 20, 6, seed=seed),
]


@pytest.mark.parametrize("build", SAMPLERS)
def test_samplers_started_at_any_step_repeat_the_rest_of_the_epoch(build):
    whole = [batch.tolist() for batch in build(3).batches(2)]
    assert len(whole) == len(build(3))
    for start in range(len(whole) + 1):
        assert [batch.tolist() for batch in build(3).batches(2, start)] == whole[start:]


@pytest.mark.parametrize("build", SAMPLERS)
def test_samplers_other_epochs_and_seeds_give_other_orders(build):
    draws = {
        tuple(flat(build(seed).batches(epoch)).tolist()) for seed in (0, 1) for epoch in (0, 1, 2)
    }
    assert len(draws) == 6


def test_shuffle_repeats_show_a_quarter_of_the_images_four_times():
    shown = flat(Shuffle(40, 8, seed=0, repeats=4).batches(0))
    images, counts = numpy.unique(shown, return_counts=True)
    assert len(shown) == 40
    assert len(images) == 10
    assert set(counts.tolist()) == {4}


@LAWS
@given(n=st.integers(1, 200), batch_size=st.integers(1, 512), epoch=st.integers(0, 5))
def test_replacement_fills_every_batch_of_an_epoch_worth_validating(n, batch_size, epoch):
    batches = list(Replacement(n, batch_size, seed=1).batches(epoch))
    assert len(batches) == max(50, n // batch_size)
    assert {len(batch) for batch in batches} == {batch_size}
    assert set(flat(batches).tolist()) <= set(range(n))


def test_replacement_draws_all_images_equally_often():
    counts = numpy.bincount(flat(Replacement(25, 512, seed=0).batches(0)), minlength=25)
    # Chi-square of 25 equal chances, 24 degrees of freedom: above 51 once in a thousand draws.
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 51


@LAWS
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=12),
    k=st.integers(2, 5),
    p=st.integers(2, 8),
    seed=st.integers(0, 20),
)
def test_identity_batches_hold_p_identities_of_k_images(sizes, k, p, seed):
    labels = numpy.repeat(numpy.arange(len(sizes)), sizes)
    for batch in IdentityBatches(labels, p * k, k, seed=seed).batches(0):
        identities, counts = numpy.unique(labels[batch], return_counts=True)
        assert len(identities) == min(p, len(sizes))
        assert set(counts.tolist()) == {k}
        for identity in identities:
            members = batch[labels[batch] == identity]
            # Images repeat only where the identity has too few.
            assert len(set(members.tolist())) == min(k, sizes[identity])


def test_identity_batches_over_epochs_show_identities_and_images_equally():
    labels = numpy.repeat(numpy.arange(10), 8)
    pk = IdentityBatches(labels, 16, 4, seed=0)
    shown = numpy.bincount(flat([b for e in range(40) for b in pk.batches(e)]), minlength=80)
    assert shown.sum() == 40 * 80
    assert shown.min() > 20
    assert shown.max() < 60


def test_identity_batches_one_identity_is_refused():
    with pytest.raises(DatasetError, match="1 identity in 9 training images"):
        IdentityBatches(numpy.zeros(9, dtype=int), 8, 4, seed=0)


@LAWS
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    each=st.integers(2, 40),
    batch_size=st.integers(2, 16),
)
def test_balanced_domains_give_every_domain_its_share_in_batches_of_its_own(
    sizes, each, batch_size
):
    domains = numpy.repeat(numpy.arange(len(sizes)), sizes)
    balanced = BalancedDomains(domains, each, batch_size, seed=0)
    batches = list(balanced.batches(0))
    assert len(batches) == len(balanced)
    expected = each - (each % batch_size == 1 and each > 1)
    for domain, size in enumerate(sizes):
        own = [batch for batch in batches if domains[batch[0]] == domain]
        shown = flat(own)
        assert (domains[shown] == domain).all()
        assert len(shown) == expected
        if size >= each:
            assert len(set(shown.tolist())) == expected


def test_sampler_of_a_recipe_is_the_one_it_names():
    labels = numpy.arange(40) % 5
    assert isinstance(sampler(Recipe(), labels, seed=0), Shuffle)
    assert isinstance(sampler(Recipe(sampler="replacement"), labels, seed=0), Replacement)
    assert isinstance(sampler(Recipe(sampler="pk"), labels, seed=0), IdentityBatches)


def test_warnings_name_lonely_images_shrunk_batches_and_repeated_ones():
    triplet = Recipe(loss="cross_entropy_triplet", batch_size=8)
    names = tuple(f"car{i}" for i in range(50))
    labels = numpy.repeat(numpy.arange(50), 3)
    (text,) = warnings(triplet, labels, names)
    # Each image has 2 others of its identity among 149: (1 - 2/149)^7 of them meet none.
    assert f"{(1 - 2 / 149) ** 7:.0%} of the images" in text
    assert "sampler: pk" in text
    pk = Recipe(loss="cross_entropy_triplet", sampler="pk", batch_size=8, images_per_identity=4)
    (text,) = warnings(pk, labels, names)
    assert "50 of 50 identities have fewer than images_per_identity (4)" in text
    few, shrunk = (
        warnings(pk, numpy.array([0, 0, 0, 0, 0]), names[:1])[-1:],
        warnings(pk.model_copy(update={"batch_size": 16}), numpy.repeat([0, 1], 6), names[:2]),
    )
    assert few
    assert "batches shrink from 16 to 8" in shrunk[0]
    assert warnings(Recipe(), labels, names) == ()
    assert warnings(pk, numpy.repeat(numpy.arange(50), 4), names) == ()


def test_batches_of_one_identity_are_warned_of_with_their_share():
    names = ("a", "b")
    triplet = Recipe(loss="cross_entropy_triplet", batch_size=2)
    labels = numpy.repeat([0, 1], 100)
    text = warnings(triplet, labels, names)[0]
    # Of 200 images shuffled, the second of a pair is of the first's identity in 99 of 199 cases.
    share = float(text.split(": ")[1].partition("%")[0]) / 100
    assert share == pytest.approx(99 / 199, abs=4 * (0.25 / 100) ** 0.5)
    assert "learns nothing" in text


def test_pieces_of_one_identity_are_warned_of():
    """Batches of pk stand by identity, so pieces of K images are of one identity each."""
    pk = Recipe(
        loss="cross_entropy_triplet",
        sampler="pk",
        batch_size=8,
        images_per_identity=4,
        micro_batch_size=4,
    )
    labels = numpy.repeat(numpy.arange(10), 4)
    (text,) = warnings(pk, labels, tuple("abcdefghij"))
    assert text.startswith("loss cross_entropy_triplet: 100% of the passes")
    assert (
        warnings(pk.model_copy(update={"micro_batch_size": 8}), labels, tuple("abcdefghij")) == ()
    )


def test_pk_batch_of_one_identity_is_an_error():
    with pytest.raises(DatasetError, match=r"batches of one identity.*batch_size of 8 or more"):
        IdentityBatches(numpy.repeat([0, 1], 4), 4, 4, seed=0)
    with pytest.raises(ValueError, match="makes batches of one identity"):
        Recipe(sampler="pk", batch_size=4, images_per_identity=4)
