"""Exact rebuilds: what a job computes with, hashed, so that it runs again when that changes.

`code.py` hashes the code of a stage, `keys.py` adds everything else that a job depends on, and
`job_script.py` checks, in the job, that what runs is what was hashed.
"""
