"""Where weights come from, one module each: `load(spec, name)` returns the model and its card."""
