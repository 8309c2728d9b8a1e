"""Labels of two sides in one type, for rankings; readers of data sets bring theirs to it too."""

from xferpipe.datasets.two_sides import MANY, Sides, alike, findings, headers, stripped

__all__ = ["MANY", "Sides", "alike", "findings", "headers", "stripped"]
