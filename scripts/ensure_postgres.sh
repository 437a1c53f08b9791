#!/usr/bin/env bash
# Provides the PostgreSQL that the tests start for themselves: the newest that is installed, else Debian's or Ubuntu's
# package, which is installed; no service is started. Prints the folder of its programs as its last line.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() {
    echo "postgres: $*" >&2
    exit 1
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# initdb is not on the path of Debian and Ubuntu.
programs() {
    local folder
    folder=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
    if [ -n "$folder" ] && [ -x "$folder/initdb" ]; then
        echo "$folder"
    elif command -v initdb >/dev/null; then
        dirname "$(readlink -f "$(command -v initdb)")"
    else
        return 1
    fi
}

# RUNLEVEL=1: packages of services do not start them in it.
install() {
    as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -q=2 -y --no-install-recommends postgresql >/dev/null
}

exec 9>"${TMPDIR:-/tmp}/docker-runner-postgres.$(id -u).lock"
flock 9
if ! programs >/dev/null; then
    command -v apt-get >/dev/null || stop "PostgreSQL is missing: install its server, so that the tests can start one."
    echo "postgres: installing the package postgresql" >&2
    install || { as_root apt-get update -q=2 && install; } ||
        stop "the package postgresql cannot be installed: install it as root (apt-get install postgresql)."
fi
programs
