#!/usr/bin/env bash
# Makes .venv from uv.lock. Uses the uv that is installed; without one, puts uv into .local/uv with pip.
# Prints the path of uv as its last line when called with --print-uv.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=$PWD/.local/uv/bin/uv
    if [ ! -x "$uv" ]; then
        echo "environment: installing uv into .local/uv"
        python3 -m pip install --quiet --disable-pip-version-check --target .local/uv uv
    fi
fi

# Bytecode is compiled once here; otherwise the first start of everything would do it, in every process again where
# .venv is not writable.
stamp=.venv/.synced
if [ -f "$stamp" ] && [ "$stamp" -nt uv.lock ] && [ "$stamp" -nt pyproject.toml ]; then
    echo "environment: .venv is up to date"
else
    echo "environment: installing locked packages into .venv"
    "$uv" sync --frozen --quiet --compile-bytecode
    touch "$stamp"
fi

[ "${1:-}" != --print-uv ] || echo "$uv"
