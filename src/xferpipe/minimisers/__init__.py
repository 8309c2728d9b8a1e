"""Minimisers: what kind of pretraining solution transfers.

Plain functions over a classifier of pixels in [0, 1] and labelled images: `inputs` perturbs the
images, `energy` the weights, `distances`, `paths` and `search` go between two solutions,
`continual` trains in parts. `stage` runs them as jobs, `predictors` sets them against transfer.
"""
