"""Run the stage of the rule."""

from xferpipe.rebuild.warm import run

run(snakemake)
