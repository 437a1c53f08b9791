#!/usr/bin/env bash
# Provides what the test of Celery workers needs beside .venv: Redis, the newest that is installed, else Debian's or
# Ubuntu's package, which is installed (no service is started); and in .local/celery a Python environment with the
# versions of uv.lock and the Celery provider on top. Prints the folder of its programs as its last line.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() {
    echo "celery: $*" >&2
    exit 1
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# RUNLEVEL=1: packages of services do not start them in it.
install_redis() {
    as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -q=2 -y --no-install-recommends redis-server >/dev/null
}

exec 9>"${TMPDIR:-/tmp}/docker-runner-celery.$(id -u).lock"
flock 9
if ! command -v redis-server >/dev/null; then
    command -v apt-get >/dev/null || stop "Redis is missing: install redis-server, so that the test can start one."
    echo "celery: installing the package redis-server" >&2
    install_redis || { as_root apt-get update -q=2 && install_redis; } ||
        stop "the package redis-server cannot be installed: install it as root (apt-get install redis-server)."
fi

folder=$PWD/.local/celery
stamp=$folder/.made
if ! { [ -f "$stamp" ] && [ "$stamp" -nt uv.lock ] && [ "$stamp" -nt pyproject.toml ]; }; then
    uv=$(scripts/ensure_environment.sh --print-uv | tail -1)
    echo "celery: making .local/celery" >&2
    rm -rf "$folder"
    "$uv" venv --quiet --python .venv/bin/python "$folder"
    "$uv" export --quiet --frozen --no-dev --no-emit-project --no-hashes >"$folder/locked.txt"
    # The provider does not work with Celery 5.7.
    "$uv" pip install --quiet --python "$folder/bin/python" --constraint "$folder/locked.txt" \
        --editable . apache-airflow-providers-celery "celery[redis]<5.7"
    touch "$stamp"
fi
echo "$folder/bin"
