#!/bin/sh
# Check and time what is in this folder: sh run.sh [FOLDER FOR RESULTS] [options of `python -m benchmarks.gpu run`].
# IREE's runtime is installed from the wheels beside this file, into /tmp, where it is missing.
PYTHON=${PYTHON:-python3}
OUTPUT=${1:-results}
case $OUTPUT in /*) ;; *) OUTPUT=$PWD/$OUTPUT ;; esac
[ $# -gt 0 ] && shift
cd "$(dirname "$0")" || exit 1
if ! "$PYTHON" -c 'import iree.runtime' 2>/dev/null; then
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target /tmp/gpu-check-runtime wheels/*.whl || exit 1
  export PYTHONPATH="/tmp/gpu-check-runtime${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
exec "$PYTHON" -m benchmarks.gpu run --bundle . --output "$OUTPUT" "$@"
