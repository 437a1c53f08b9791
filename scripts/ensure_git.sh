#!/usr/bin/env bash
# Makes sure that the command git is there, which images from git repositories need: uses the one that is installed, else
# installs Debian's or Ubuntu's package where that is allowed. Without git everything else works, so it never fails.
set -euo pipefail

command -v git >/dev/null && exit

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --no-install-recommends -o Dpkg::Use-Pty=0 git ca-certificates \
        >/dev/null 2>&1
}

if command -v apt-get >/dev/null; then
    echo "git: installing git ..."
    if install || { as_root apt-get update -q=2 >/dev/null 2>&1 && install; }; then exit; fi
fi
echo "git: there is no git, and it cannot be installed here; components whose image is built from a git repository need it." >&2
