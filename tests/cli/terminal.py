"""A command line run as a person runs it: in a pseudo terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

#: Escape codes, so that a screen reads as text.
CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def in_terminal(
    code: str, *arguments: str, keys: str = "", interrupt_at: str = "", seconds: float = 120
) -> tuple[int, str, str]:
    """Run Python code in a terminal of its own; stdout goes to a pipe.

    Args:
        code: Source of the program.
        arguments: Its words.
        keys: What is typed.
        interrupt_at: Ctrl-C is pressed when this is on the screen.
        seconds: Longest time it may take.
    Returns:
        Exit code, stdout, and what was on the screen.
    """
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(follower)
    os.write(leader, keys.encode())
    screen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                screen += os.read(leader, 65536)
            except OSError:  # the process has closed the terminal
                break
            if interrupt_at and interrupt_at.encode() in screen:
                process.send_signal(signal.SIGINT)
                interrupt_at = ""
    os.close(leader)
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, out.decode(), CODES.sub("", screen.decode())
