"""The report: what its page says and draws, from the result tables."""
