"""Data sets: listing, checking, decoding, splitting, sampling and augmenting images."""
