"""Named streams: equal everywhere, independent of one another."""

from hypothesis import given
from hypothesis import strategies as st

from xferpipe.seeding import numpy_generator, stream, torch_generator

NAMES = st.lists(st.text(min_size=1, max_size=8) | st.integers(0, 99), max_size=3)


def test_stream_is_the_same_on_every_machine():
    # `printf '0\x1fa' | sha256sum` starts with these bytes; read as little endian, and halved.
    assert stream(0, "a") == int.from_bytes(bytes.fromhex("ef2c25ef33ca6bec"), "little") >> 1


@given(st.integers(0, 2**31), NAMES)
def test_stream_is_a_seed_that_every_library_takes(seed, names):
    assert 0 <= stream(seed, *names) < 2**63


@given(st.integers(0, 99), st.text(min_size=1), st.text(min_size=1))
def test_streams_of_different_names_differ(seed, first, second):
    assert (stream(seed, first) == stream(seed, second)) == (first == second)


def test_drawing_from_one_stream_leaves_the_others_as_they_were():
    alone = numpy_generator(3, "b").random(5)
    numpy_generator(3, "a").random(100)
    assert (numpy_generator(3, "b").random(5) == alone).all()


def test_torch_generator_starts_at_its_stream():
    assert torch_generator(1, "x").initial_seed() == stream(1, "x")
