#!/usr/bin/env bash
# Builds the kernels with AddressSanitizer and UndefinedBehaviorSanitizer in a scratch folder (first argument, or a
# temporary one) and runs the tests that exercise them, at every instruction level.
# Needs the virtual environment .venv with the extra [test].
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-$root/.venv/bin/python}
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cp -r sdtwkit tests setup.py pyproject.toml README.md LICENSE "$folder/"
cd "$folder"
rm -f sdtwkit/_kernels/*.so sdtwkit/_kernels/alignment.cpp
"$python" -m pip install -q "setuptools>=77" "cython>=3.1.2,<3.2.6"
# -O1: at -O0 the always_inline loops take minutes; above -O1 the instrumented build does.
export SDTWKIT_CXXFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g1"
"$python" setup.py -q build_ext --inplace
unset SDTWKIT_CXXFLAGS
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)"
# Python itself does not free everything at exit, and its own allocator would hide the arrays' borders.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc
levels=$("$python" -c 'from sdtwkit._kernels import alignment as a; print(*a.LEVELS[: a.best_level() + 1])')
for level in $levels; do
  echo "---- $level"
  SDTWKIT_SIMD=$level "$python" -m pytest -q -x -s -p no:cacheprovider tests/test_kernels.py
done
