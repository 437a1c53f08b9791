#!/usr/bin/env bash
# Makes sure that the image docker-runner/base:latest is there, from which the sample's images are built: Python with pip
# on Debian, trusting what this machine trusts. See docs/images.md.
#
#   BASE_IMAGE        what to make it from instead of python:3.12-slim: an image that is here or can be pulled
#   DEBIAN_MIRROR     Debian mirror of the fallback (default: Debian's own)
#   REGISTRY_SECONDS  how long a registry may take to answer at all (5)
set -euo pipefail

result=docker-runner/base:latest
debian_root=docker-runner/debian-python:latest
preferred=python:3.12-slim
ca_bundle=/etc/ssl/certs/ca-certificates.crt

say() { echo "base image: $*"; }

stop() {
    echo "base image: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

is_here() { docker image inspect "$1" >/dev/null 2>&1; }

# What the image is made from and of, kept as its label: a new CA or another BASE_IMAGE makes it anew.
wanted_label() {
    printf '%s ' "${BASE_IMAGE:-any}"
    if [ -r "$ca_bundle" ]; then sha256sum <"$ca_bundle" | cut -c1-16; else echo none; fi
}

# Pulling takes as long as it takes once a registry answers; finding out that none does may not. A manifest is small.
registry_answers() {
    timeout "${REGISTRY_SECONDS:-5}" env DOCKER_CLI_EXPERIMENTAL=enabled docker manifest inspect "$1" >/dev/null 2>&1
}

root_image() {
    if [ -n "${BASE_IMAGE:-}" ]; then
        is_here "$BASE_IMAGE" || docker pull --quiet "$BASE_IMAGE" >&2 || stop "BASE_IMAGE=$BASE_IMAGE cannot be pulled."
        echo "$BASE_IMAGE"
    elif is_here "$preferred"; then
        echo "$preferred"
    elif is_here "$debian_root"; then
        echo "$debian_root"
    elif registry_answers "$preferred" && docker pull --quiet "$preferred" >&2; then
        echo "$preferred"
    else
        make_debian_root
        echo "$debian_root"
    fi
}

make_debian_root() {
    say "no registry answers; making Python on Debian from its packages (about half a minute) ..." >&2
    command -v mmdebstrap >/dev/null || install_mmdebstrap
    local suite
    # shellcheck disable=SC1091
    suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || suite=bookworm
    local archive=$work/root.tar log=$work/mmdebstrap.log
    # shellcheck disable=SC2016  # the hook is for the shell of mmdebstrap, which puts the new root into $1
    # Documentation is left out, as in Debian's official images. pip shall install as in python:slim: as root, no questions.
    as_root env TMPDIR="$work" mmdebstrap --variant=apt --include=python3,python3-pip,ca-certificates \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; ln -s python3 "$1/usr/bin/python"' \
        "$suite" "$archive" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        stop "Debian's packages could not be put together; see the lines above."
    }
    docker import --change 'CMD ["python3"]' "$archive" "$debian_root" >/dev/null
}

install_mmdebstrap() {
    command -v apt-get >/dev/null ||
        stop "no registry answers and mmdebstrap is not installed. Set BASE_IMAGE to an image with Python that is here."
    say "installing mmdebstrap ..." >&2
    local install=(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --no-install-recommends mmdebstrap)
    "${install[@]}" >/dev/null 2>&1 || { as_root apt-get update -q=2 && "${install[@]}" >/dev/null; } ||
        stop "mmdebstrap could not be installed; see the lines above."
}

# Certificates of the machine, in a place of their own that update-ca-certificates leaves alone. Nothing in it is secret.
derive() {
    local root=$1 context=$work/context
    mkdir -p "$context"
    if [ -r "$ca_bundle" ]; then cp "$ca_bundle" "$context/ca.crt"; else : >"$context/ca.crt"; fi
    {
        echo "FROM $root"
        echo "LABEL docker-runner.base=\"$(wanted_label)\""
        if [ -s "$context/ca.crt" ]; then
            echo "COPY ca.crt /etc/docker-runner/ca.crt"
            echo "ENV PIP_CERT=/etc/docker-runner/ca.crt SSL_CERT_FILE=/etc/docker-runner/ca.crt" \
                "REQUESTS_CA_BUNDLE=/etc/docker-runner/ca.crt"
        fi
    } >"$context/Dockerfile"
    DOCKER_BUILDKIT=0 docker build --quiet --tag "$result" "$context" >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        stop "$result cannot be made from $root; see the lines above."
    }
}

main() {
    local label
    label=$(docker image inspect --format '{{index .Config.Labels "docker-runner.base"}}' "$result" 2>/dev/null) || label=
    if [ "$label" = "$(wanted_label)" ]; then
        say "$result is there already."
        return
    fi
    work=$(mktemp -d)
    # Only mmdebstrap leaves what belongs to root.
    trap 'rm -rf "$work" 2>/dev/null || as_root rm -rf "$work"' EXIT
    local root
    root=$(root_image)
    derive "$root"
    say "$result is made from $root."
}

exec 9>"${TMPDIR:-/tmp}/docker-runner-base-image.$(id -u).lock"
flock 9
main
