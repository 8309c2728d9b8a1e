"""Retrieval of images by what they show: ranking, figures, re-ranking, ranked lists.

`evaluate` takes features from anywhere; `stage.retrieval` is the workflow's own stage.
"""

from xferpipe.retrieval.evaluate import evaluate

__all__ = ["evaluate"]
