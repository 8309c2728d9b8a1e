"""Arrays mapped from disk: pages that were read are given back, so that memory stays bounded."""

import mmap

#: Modes in which the file holds all that the pages hold; a private copy ("c") would be lost.
_SHARED_MODES = ("r", "r+", "w+")


def is_mapped(features):
    """Tell whether an array is mapped from a file that its pages can be read from again."""
    return _map_of(features) is not None


def release(features):
    """Give back every page that a memory-mapped array holds; what is needed is read again.

    Nothing happens to an array that is not mapped, nor where the system cannot do it.
    """
    found = _map_of(features)
    if found is not None:
        found.madvise(mmap.MADV_DONTNEED)


def _map_of(features):
    if getattr(features, "mode", None) not in _SHARED_MODES or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    base = features
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base


__all__ = ["is_mapped", "release"]
