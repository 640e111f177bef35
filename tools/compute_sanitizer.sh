#!/usr/bin/env bash
# Runs the tests of the GPU under compute-sanitizer: accesses out of bounds, races in shared memory, reads of what was
# never written, barriers that not all lanes reach. It comes with the CUDA toolkit; a device is needed.
#
#     tools/compute_sanitizer.sh
#
# PYTHON names an interpreter that has the extras [test] and [gpu] (default: that of .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
# CuPy's memory pool hands out parts of large allocations, whose borders no tool would see.
program='import sys, cupy, pytest; cupy.cuda.set_allocator(None); sys.exit(pytest.main(sys.argv[1:]))'
# Left out: the long tests, which the tools slow down a hundredfold, and the one that captures a graph.
tests=(-q -x -p no:cacheprovider tests/test_gpu.py tests/test_gpu_warps.py tests/test_gpu_gru.py -k "not long and not many and not captured and not waits")
for tool in memcheck racecheck initcheck synccheck; do
  echo "---- $tool"
  compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" -c "$program" "${tests[@]}"
done
