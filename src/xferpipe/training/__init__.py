"""Training: one loop for pretraining and fine-tuning, and the parts that recipes choose from.

`loop.py` runs it; `schedules.py`, `losses.py` and `parameters.py` are pure functions of the recipe;
`algorithms/` holds what changes steps or weights (SAM, SWA, rSGD), found by name.
"""
