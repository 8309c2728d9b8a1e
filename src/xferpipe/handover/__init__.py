"""Handing a model over: which run, as a folder of its own, and what it says of photographs."""
