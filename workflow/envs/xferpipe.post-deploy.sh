#!/usr/bin/env bash
# Snakemake runs a copy of this script inside the environment that it has just built: the repository
# is neither beside the script nor, under --directory, where it runs. So the workflow says where it
# is (XFERPIPE_ROOT); a run by hand may also start anywhere inside the repository.
set -euo pipefail

is_root() { [ -f "$1/requirements.lock" ] && grep -qs '^name = "xferpipe"$' "$1/pyproject.toml"; }

root=${XFERPIPE_ROOT:-$PWD}
if [ -z "${XFERPIPE_ROOT:-}" ]; then
    while [ "$root" != / ] && ! is_root "$root"; do root=$(dirname "$root"); done
fi
if ! is_root "$root"; then
    echo "post-deploy: found no xferpipe repository at or above ${XFERPIPE_ROOT:-$PWD};" \
        "expected requirements.lock and xferpipe's pyproject.toml: run from inside the" \
        "repository, or set XFERPIPE_ROOT to it" >&2
    exit 1
fi

# The environment alone counts: nothing from the user's own site-packages.
export PYTHONNOUSERSITE=1
python -m pip install --quiet --no-input --disable-pip-version-check \
    --requirement "$root/requirements.lock"
python -m pip install --quiet --no-input --disable-pip-version-check \
    --no-build-isolation --no-deps --editable "$root"
python -c "import xferpipe, torch; print('xferpipe', xferpipe.__path__[0], 'torch', torch.__version__)"
