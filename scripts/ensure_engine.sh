#!/usr/bin/env bash
# Makes sure that a Docker engine answers: uses the one that does, else starts the one that is installed, else installs
# one from Debian's or Ubuntu's packages and starts that.
#
#   DOCKER_HOST           the engine to use; when set, nothing is installed or started
#   DOCKERD_LOG           log of an engine started here (/var/log/dockerd.log)
#   DOCKERD_FLAGS         further flags of an engine started here
#   ENGINE_WAIT_SECONDS   how long to wait for an engine started here (60)
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin # where dockerd is, which Debian leaves out for users
log_file=${DOCKERD_LOG:-/var/log/dockerd.log}
wait_seconds=${ENGINE_WAIT_SECONDS:-60}
read -ra engine_flags <<<"${DOCKERD_FLAGS:-}"

say() { echo "engine: $*"; }

stop() {
    echo "engine: $*" >&2
    exit 1
}

# An engine behind DOCKER_HOST may be a network away, and one that hangs must not hang us.
answers() { timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null; }

# Without our lock: what is started here may stay.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@" 9>&-
    else
        sudo -n "$@" 9>&-
    fi
}

can_be_root() { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }

socket=/var/run/docker.sock

may_not_use_socket() { [ -S "$socket" ] && [ ! -w "$socket" ]; }

# Who is not root may use the engine only as a member of the group docker, and is one only after the next login. Until then
# the socket of the engine that was installed or started here is this user's own.
let_user_in() {
    [ "$(id -u)" -ne 0 ] && [ -z "${DOCKER_HOST:-}" ] || return 0
    local deadline=$((SECONDS + wait_seconds))
    # The engine sets the socket's owner itself, before it answers.
    until as_root docker version >/dev/null 2>&1 || [ "$SECONDS" -ge "$deadline" ]; do sleep 0.2; done
    may_not_use_socket || return 0
    say "letting $(id -un) use the engine: member of the group docker, which is as good as root on this machine"
    if ! as_root usermod -aG docker "$(id -un)" || ! as_root chown "$(id -un)" "$socket"; then
        stop "$(id -un) may not use the engine's socket: usermod -aG docker $(id -un), then log in again."
    fi
}

install_engine() {
    command -v apt-get >/dev/null ||
        stop "there is no Docker engine. Install one (https://docs.docker.com/engine/install/), or set DOCKER_HOST."
    can_be_root ||
        stop "there is no Docker engine. Run this as root or with passwordless sudo, or: apt-get install docker.io iptables"
    # The packages of the base image's fallback come along: each call of apt-get costs seconds.
    local packages=(docker.io iptables ca-certificates mmdebstrap)
    say "installing ${packages[*]} ..."
    apt_install "${packages[@]}" || {
        as_root apt-get update -q=2
        apt_install "${packages[@]}"
    } || stop "could not install ${packages[*]}; see the lines above."
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --no-install-recommends --no-upgrade -o Dpkg::Use-Pty=0 "$@" \
        >/dev/null
}

start_engine() {
    can_be_root || stop "a Docker engine is installed but does not answer. Start it as root: service docker start"
    # A service manager that runs keeps the engine over reboots; systemctl exists in containers where none runs.
    if [ -d /run/systemd/system ] && systemctl cat docker.service >/dev/null 2>&1 && [ -z "${DOCKERD_FLAGS:-}" ]; then
        say "starting the service docker ..."
        as_root systemctl start docker.service || stop "the service docker did not start: journalctl -u docker"
    else
        remove_stale_pid_files
        say "starting dockerd, log in $log_file ..."
        # Its own session and none of our files, so that it outlives this shell and its terminal and keeps neither the lock
        # nor a pipe open.
        # shellcheck disable=SC2016  # expanded by the inner bash
        as_root setsid --fork bash -c 'exec dockerd "${@:2}" >>"$1" 2>&1' dockerd "$log_file" "${engine_flags[@]}" \
            </dev/null >/dev/null 2>&1
    fi
    let_user_in
    wait_for_engine
}

# After a crash a pid file may name a process that is something else by now, for which the engine would hold back.
remove_stale_pid_files() {
    local entry file pid
    for entry in dockerd:/var/run/docker.pid containerd:/var/run/docker/containerd/containerd.pid; do
        file=${entry#*:}
        pid=$(as_root cat "$file" 2>/dev/null) || continue
        if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "${entry%%:*}" ]; then as_root rm -f "$file"; fi
    done
}

wait_for_engine() {
    local deadline=$((SECONDS + wait_seconds))
    until version=$(answers); do
        if [ "$SECONDS" -ge "$deadline" ]; then
            as_root tail -n 20 "$log_file" >&2 || true
            stop "no engine answers after $wait_seconds seconds; the end of its log stands above."
        fi
        sleep 0.2
    done
    say "Docker $version answers."
}

# After installing docker.io the service may be up already, or Debian's policy may have kept it from starting.
main() {
    if command -v docker >/dev/null && version=$(answers); then
        say "Docker $version answers already."
        return
    fi
    [ -z "${DOCKER_HOST:-}" ] || [ -n "${DOCKERD_FLAGS:-}" ] ||
        stop "DOCKER_HOST is ${DOCKER_HOST}, but no engine answers there. Unset it to use an engine on this machine."
    if may_not_use_socket; then
        stop "$(id -un) may not use the engine's socket: usermod -aG docker $(id -un), then log in again."
    fi
    command -v dockerd >/dev/null || {
        install_engine
        ! may_not_use_socket || let_user_in
    }
    if version=$(answers); then
        say "Docker $version answers."
    else
        start_engine
    fi
}

# One at a time: two starts would fight over one pid file.
exec 9>"${TMPDIR:-/tmp}/docker-runner-engine.$(id -u).lock"
flock 9
main
