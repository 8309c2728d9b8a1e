#!/bin/sh
# Say what this machine lacks to build and run xferpipe, before anything is downloaded.
# Prints one line that installs what is missing; exits with 1 when something is.
set -u
packages=""
problems=""

lacks() {
    problems="$problems
  - $1"
    packages="$packages $2"
}

python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null 2>&1; then
    lacks "Python 3.11 or newer ($python is not on PATH)" "python3 python3-venv python3-dev"
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    lacks "Python 3.11 or newer ($("$python" --version) is too old; set PYTHON=...)" "python3"
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || lacks "Python's venv module" "python3-venv"
    "$python" -c 'import os, sysconfig as s
raise SystemExit(not os.path.exists(os.path.join(s.get_path("include"), "Python.h")))' ||
        lacks "Python's C headers" "python3-dev"
fi

compiler=${CXX:-g++}
source=$(mktemp --suffix=.cpp)
echo '#include <optional>
int main() { return std::optional<int>(0).value(); }' >"$source"
if ! "$compiler" -std=c++17 -o "$source.out" "$source" 2>/dev/null; then
    lacks "a C++17 compiler ($compiler cannot build one file; set CXX=...)" "g++"
fi
rm -f "$source" "$source.out"

command -v git >/dev/null 2>&1 || lacks "git" "git"

free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
if [ ! -d .venv ] && [ "$free" -lt 9 ]; then
    echo "preflight: 9 GiB of free disk are needed for the dependencies, $free GiB are free here" >&2
    exit 1
fi

if [ -n "$problems" ]; then
    echo "preflight: missing on this machine:$problems" >&2
    echo "install with:  sudo apt-get install -y$packages" >&2
    exit 1
fi
command -v nvcc >/dev/null 2>&1 && echo "preflight: nvcc found, CUDA kernels will be compiled" ||
    echo "preflight: no nvcc, CPU kernels only"
