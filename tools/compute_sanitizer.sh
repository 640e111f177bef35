#!/usr/bin/env bash
# Runs every family of kernels under compute-sanitizer: accesses out of bounds, races in shared memory, reads of what was
# never written, barriers that not all lanes reach. It comes with the CUDA toolkit; a device is needed.
#
#     tools/compute_sanitizer.sh [TOOL ...]
#
# All tools and families run side by side, and each to its end, whatever the others find; before them the families
# without a tool, which leaves compiled kernels in CuPy's cache. PYTHON names an interpreter that has the extras [test]
# and [gpu] (default: that of .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
export python=${PYTHON:-.venv/bin/python} PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
logs=$(mktemp -d)
export logs
trap 'rm -rf "$logs"' EXIT
[ $# -gt 0 ] || set -- memcheck racecheck initcheck synccheck
read -ra families <<<"$("$python" tests/device_tour.py)"

tour() {  # tool or "plain", family
  local command=("$python" tests/device_tour.py "$2") log="$logs/$1.$2" start=$SECONDS
  [ "$1" = plain ] || command=(compute-sanitizer --tool "$1" --error-exitcode 1 "${command[@]}")
  if timeout 400 "${command[@]}" >"$log" 2>&1; then
    echo "passed: $1, $2 ($((SECONDS - start)) s)"
  else
    echo "FAILED: $1, $2 ($((SECONDS - start)) s)"
    { head -n 40; tail -n 20; } <"$log"
    return 1
  fi
}
export -f tour

side_by_side() {  # tools
  for tool in "$@"; do printf "$tool %s\n" "${families[@]}"; done | xargs -P 64 -L 1 bash -c 'tour "$@"' tour
}
status=0
side_by_side plain || status=1
side_by_side "$@" || status=1
exit $status
