#!/usr/bin/env bash
# Builds the package anew, compiled as SDTWKIT_DEBUG and SDTWKIT_CXXFLAGS say (see setup.py), and installs it into
# FOLDER/site; the tests are copied to FOLDER/tests. Run them from FOLDER with PYTHONPATH=FOLDER/site.
#
#     tools/build_variant.sh FOLDER
#
# PYTHON names the interpreter (default: that of .venv, which has what the package depends on).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
mkdir "$folder/source"
cp -r "$root"/{sdtwkit,setup.py,pyproject.toml,README.md,LICENSE} "$folder/source/"
cp -r "$root/tests" "$folder/"
# Neither what another build compiled nor what it generated: that would be taken for up to date.
rm -f "$folder"/source/sdtwkit/_kernels/{*.so,alignment.cpp,chain.cpp,warp.cpp,recurrent.cpp}
"$python" -m pip install -q --no-deps --target "$folder/site" "$folder/source"
cd "$folder"
PYTHONPATH=$folder/site LD_PRELOAD=${VARIANT_PRELOAD-} "$python" - "$folder" <<'END'
import sys, sdtwkit
if not sdtwkit.__file__.startswith(sys.argv[1]):
    sys.exit(f"{sdtwkit.__file__} hides the variant in {sys.argv[1]}")
END
