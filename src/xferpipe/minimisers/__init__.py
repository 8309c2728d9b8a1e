"""Minimisers: what kind of pretraining solution transfers.

Plain functions over a classifier of pixels in [0, 1] and labelled images: `inputs` perturbs the
images, `energy` the weights, `distances`, `ways` and `search` go between two solutions. `probe`,
`probe_finetuned`, `path` and `continual` are the jobs; `predictors` sets their figures against
transfer.
"""
