"""Where Snakemake looks for the console of `--logger xferpipe`, which the profiles ask for."""

from xferpipe.console.handler import LogHandler

__all__ = ["LogHandler"]
