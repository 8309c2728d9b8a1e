"""The zoo: architectures, their weights, and what a selection method needs to know of them.

`build.py` builds a model, `weights.py` reads and writes its weights, `features.py` passes images
through it, `card.py` writes what is known of it. Architecture families are found by name in
`xferpipe.zoo.architectures`.
"""
