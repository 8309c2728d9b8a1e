#!/bin/sh
# Build the extension with its CUDA kernels, check them and time them, on a machine with a GPU and nvcc.
# Arguments go to `python -m benchmarks.gpu`; the tables lie in benchmarks/results/gpu_*.csv.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
[ -x "$PYTHON" ] || PYTHON=python3

case " $* " in
*" --dry-run "* | *" --help "*) ;;
*)
  command -v nvcc >/dev/null 2>&1 || [ -x "${CUDA_HOME:-/nowhere}/bin/nvcc" ] || {
    echo "gpu_check: no nvcc; put it on the PATH or set CUDA_HOME to a CUDA 13 toolkit" >&2
    exit 2
  }
  "$PYTHON" setup.py --quiet build_ext --inplace
  PYTHONPATH=src "$PYTHON" -m pytest -q -p no:cacheprovider tests/cuda -m "not slow"
  ;;
esac
PYTHONPATH=src exec "$PYTHON" -m benchmarks.gpu "$@"
