"""Renderers of generated sets, each a pure function of a seed."""
