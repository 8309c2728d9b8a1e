"""Training algorithms, one module each, found by the recipe's `algorithm`.

A module has a class `Algorithm`; `plain.py` is the one that the others change.
"""
