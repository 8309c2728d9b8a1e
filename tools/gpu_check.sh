#!/bin/sh
# Build the extension with its CUDA kernels, check them and time them, on a machine with a GPU and nvcc.
# Arguments go to `python -m benchmarks.gpu`: parts by name, --case, --budget, --output DIR. Without
# names, all parts, the most valuable first.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  PYTHON=.venv/bin/python
  [ -x "$PYTHON" ] || PYTHON=python3
fi
command -v "$PYTHON" >/dev/null || {
  echo "gpu_check: PYTHON is $PYTHON, which is neither a file nor on the PATH" >&2
  exit 2
}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"

find_nvcc() {
  for nvcc in "${CUDA_HOME:-/nowhere}/bin/nvcc" "$(command -v nvcc)" /usr/local/cuda/bin/nvcc; do
    [ ! -x "$nvcc" ] || return 0
  done
  echo "gpu_check: no nvcc; put it on the PATH or set CUDA_HOME to a CUDA 13 toolkit" >&2
  exit 2
}

# Out of sight of pyproject.toml, whose licence field setuptools before 77 refuses.
build() {
  case $PYTHON in
  */*) python="$PWD/$PYTHON" && [ -x "$python" ] || python=$PYTHON ;;
  *) python=$PYTHON ;;
  esac
  mkdir -p build/gpu_check
  ln -sfn "$PWD/setup.py" build/gpu_check/setup.py
  ln -sfn "$PWD/src" build/gpu_check/src
  (cd build/gpu_check && "$python" setup.py --quiet build_ext --inplace)
}

case " $* " in
*" --dry-run "* | *" --help "* | *" -h "*) ;;
*)
  find_nvcc
  # setup.py looks nowhere else where CUDA_HOME is set. Its tools go last: python3 stays the same.
  CUDA_HOME=$(dirname "$(dirname "$nvcc")")
  export CUDA_HOME PATH="$PATH:$CUDA_HOME/bin"
  build
  ;;
esac
exec "$PYTHON" -m benchmarks.gpu "$@"
