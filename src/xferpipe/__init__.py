"""Which pretrained vision model should I fine-tune for my data, and how?

Importing this package imports nothing else: `xferpipe.ops` needs torch alone and the workflow's
interpreters start fast. Subpackages load at first use.
"""

import importlib

__all__ = ["Study", "__version__", "load_study", "load_table"]

#: Names of the notebook's first line -> where they are defined.
_NAMES = {
    "Study": ("xferpipe.config", "Study"),
    "load_study": ("xferpipe.config", "load_study"),
    "load_table": ("xferpipe.records", "load_table"),
}


def __getattr__(name):
    """Load a name, a subpackage or the version at first use."""
    if name in _NAMES:
        module, attribute = _NAMES[name]
        return getattr(importlib.import_module(module), attribute)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("xferpipe")
        except PackageNotFoundError:
            return "0.0.0+uninstalled"
    if name.startswith("_"):
        raise AttributeError(f"module 'xferpipe' has no attribute {name!r}")
    target = f"xferpipe.{name}"
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        # A missing dependency of an existing subpackage must not look like a missing subpackage.
        if error.name != target:
            raise
        raise AttributeError(f"module 'xferpipe' has no attribute {name!r}") from None
