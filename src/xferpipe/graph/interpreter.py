"""A path of this Python that can stand in a shell command as it is."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import tempfile
from pathlib import Path

from xferpipe.records import atomic_path


def make_interpreter_callable() -> None:
    """Let Snakemake start this Python where its path has a space in it.

    Snakemake writes `sys.executable` into the shell commands of scripts without quoting it. Where
    the shell would take it apart, it becomes a script in the user's cache that calls it.
    """
    executable = sys.executable
    if shlex.quote(executable) == executable:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xferpipe"
    if shlex.quote(str(cache)) != str(cache):
        cache = Path(tempfile.gettempdir()) / f"xferpipe-{os.getuid()}"
    wrapper = cache / f"python-{hashlib.sha256(executable.encode()).hexdigest()[:12]}"
    with atomic_path(wrapper) as temporary:
        temporary.write_text(f'#!/bin/sh\nexec {shlex.quote(executable)} "$@"\n')
    wrapper.chmod(0o755)
    sys.executable = str(wrapper)
