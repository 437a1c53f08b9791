#!/usr/bin/env bash
# Provides the registry that the tests push to and pull from: the installed docker-registry, else the program out of
# Debian's or Ubuntu's package, unpacked into .local/registry. Nothing is installed, and no service is started.
# Prints the program's path as its last line.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/.local/registry
program=$folder/usr/bin/docker-registry

stop() {
    echo "registry: $*" >&2
    exit 1
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

download() { apt-get download docker-registry >/dev/null 2>&1; }

unpack_package() {
    command -v apt-get >/dev/null || stop "docker-registry is missing: install it, so that the tests have a registry."
    local work
    mkdir -p "$folder"
    work=$(mktemp -d "$folder/XXXXXX")
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$work'" EXIT
    (cd "$work" && { download || { as_root apt-get update -q=2 && download; }; }) ||
        stop "the package docker-registry cannot be downloaded."
    dpkg -x "$work"/docker-registry_*.deb "$work/root"
    # In one step, so that the program is either there or not.
    mkdir -p "$(dirname "$program")"
    mv "$work/root/usr/bin/docker-registry" "$program"
}

if command -v docker-registry >/dev/null; then
    command -v docker-registry
    exit
fi
exec 9>"${TMPDIR:-/tmp}/docker-runner-registry.$(id -u).lock"
flock 9
[ -x "$program" ] || unpack_package
echo "$program"
