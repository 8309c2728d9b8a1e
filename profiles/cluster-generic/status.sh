#!/bin/sh
# Say how a PBS job stands, in Snakemake's words: running, success or failed.
# A job that PBS no longer knows has no exit status to tell by, and counts as failed.
set -u
if ! found=$(qstat -x -f "$1" 2>/dev/null); then
    echo failed
    exit 0
fi
field() { printf '%s\n' "$found" | sed -n "s/^[[:space:]]*$1 = //p" | head -n 1; }
case $(field job_state) in
    F | C | X) if [ "$(field Exit_status)" = 0 ]; then echo success; else echo failed; fi ;;
    *) echo running ;;
esac
