#!/usr/bin/env bash
# Runs the kernels' tests under AddressSanitizer and UndefinedBehaviorSanitizer, at every instruction level.
#
#     tools/sanitize.sh [FOLDER]
#
# FOLDER (default: a temporary one, deleted at the end) receives the build. PYTHON names an interpreter that has the
# extra [test] (default: that of .venv). ThreadSanitizer is not used: it does not know the barriers of GNU OpenMP.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
if [ $# -gt 0 ]; then folder=$1; else folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT; fi

# -O1: without it the always_inline loops take minutes; more of it makes the instrumented build take minutes.
# _GLIBCXX_ASSERTIONS checks the indices of std::vector, whose spare room the sanitizer takes for used.
flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g1"
flags+=" -D_GLIBCXX_ASSERTIONS"
preload="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)"
# Python does not free everything at exit, and its own allocator would hide the borders of small arrays.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc
SDTWKIT_CXXFLAGS=$flags VARIANT_PRELOAD=$preload "$root/tools/build_variant.sh" "$folder"
cd "$folder"
export PYTHONPATH=$PWD/site LD_PRELOAD=$preload

# -s: a report ends the process at once, and what pytest has captured by then would be lost.
check() { echo "---- $1" && SDTWKIT_SIMD=$1 "$python" -m pytest -q -x -s -p no:cacheprovider "${@:2}"; }

levels=$("$python" -c 'from sdtwkit._kernels import alignment as a; print(*a.LEVELS[: a.best_level() + 1])')
for level in $levels; do check "$level" tests/test_kernels.py; done
check "$level" tests/test_dp_chain.py tests/test_dp_dag.py -k "not twin and not extremes"
# At the best level alone: all series, costs and options. test_levels forces the others by itself. Left out: the tests
# whose time is that of the slow twins, instrumented for nothing.
check "$level" tests/test_levels.py -k agree
check "$level" tests/test_series.py tests/test_costs.py tests/test_ctc.py tests/test_dp_graphs.py tests/test_warping.py \
  tests/test_coupled_gru.py
check "$level" tests/test_dp_alignment.py -k "not borders_of_blocks and not large and not 1000"
