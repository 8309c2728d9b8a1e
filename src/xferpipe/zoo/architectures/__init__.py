"""One module for each family of architectures, found by `config.zoo.architecture_family`.

A family has two functions: `build(spec, outputs)` returns the model with fresh weights, and
`anatomy(model, architecture)` names its parts.
"""
