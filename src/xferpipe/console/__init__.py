"""What a person sees of a run: one line a job, how far it is, and the verdict at the end.

`words` says what each job does, `handler` takes Snakemake's records, `run` counts and times the
jobs, `screen` writes lines and draws the bar, `verdict` reads the answer from the tables.
"""
