"""Run the job of a rule, whichever: the stage's name is among its parameters."""

from xferpipe.graph.warm import run

run(snakemake)
