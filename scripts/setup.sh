#!/usr/bin/env bash
# Sets up everything that is missing: Python environment, git, Docker engine, images. Safe to call again and again.
set -euo pipefail
cd "$(dirname "$0")/.."

# A password can be asked for only here: what follows runs in the background.
if [ "$(id -u)" -ne 0 ] && [ -t 0 ] && command -v sudo >/dev/null && [ -z "${DOCKER_HOST:-}" ] &&
    ! docker version >/dev/null 2>&1 && ! { [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; }; then
    echo "setup: no Docker engine answers; installing or starting one needs root."
    sudo -v || true # scripts/ensure_engine.sh says what else can be done
fi

# The engine and the images take the longest and need nothing of the environment: both are made at the same time.
images_log=$(mktemp)
trap 'rm -f "$images_log"' EXIT
(scripts/ensure_git.sh && scripts/ensure_engine.sh && scripts/ensure_base_image.sh && python3 scripts/build_images.py) >"$images_log" 2>&1 &
images=$!

failed=0
scripts/ensure_environment.sh || failed=1
wait "$images" || failed=1
cat "$images_log"
exit "$failed"
