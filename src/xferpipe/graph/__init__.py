"""The graph of a study's jobs, written once, and the keys that make rebuilds exact.

`stages/` holds one record a stage: what its jobs are, read and write. `code/` hashes the code of a
stage, `keys.py` adds everything else that a job depends on, `rules.py` is what the Snakefile asks,
and `job.py` checks, in the job, that what runs is what was hashed.
"""
