"""The stages: one module each, with the function that a job of the rule of its name runs."""
