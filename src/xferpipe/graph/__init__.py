"""Exact rebuilds: what a job computes with, hashed, so that it runs again when that changes.

`code.py` hashes the code of a stage: `syntax.py` says what of Python counts, `closure.py` what a
stage reaches, `kernels.py`, `plugins.py` and `tables.py` the rest. `keys.py` adds everything else
that a job depends on, and `job_script.py` checks, in the job, that what runs is what was hashed.
"""
