#!/usr/bin/env bash
# Everything that reads the code and does not run it: what .pre-commit-config.yaml names, and types. The tools are those
# of the extra [lint].
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
cython-lint sdtwkit/_kernels
mypy
if git grep -nIE '[[:space:]]+$'; then
  echo "These lines end with a blank"
  exit 1
fi
