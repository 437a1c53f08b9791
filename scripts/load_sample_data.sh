#!/usr/bin/env bash
# Loads the sample's tables into Storage, those that are not there yet. DOCKER_RUNNER_STORAGE and DOCKER_RUNNER_HOME say
# which Storage, as everywhere.
set -euo pipefail

cd "$(dirname "$0")/.."
bucket=in.c-nycflights

in_environment() { ".venv/bin/$1" "${@:2}"; }

# Ids alone, one a line: what "storage list" prints is laid out for people.
table_ids() {
    in_environment python - <<'PYTHON'
import sys
from contextlib import closing

from docker_runner.errors import RunnerError
from docker_runner.settings import Settings
from docker_runner.storage import open_storage

try:
    with closing(open_storage(Settings.from_environment().storage)) as storage:
        print(*(table.id for table in storage.tables()), sep="\n")
except RunnerError as error:
    sys.exit(f"sample data: {error}")
PYTHON
}

# File name without .csv, and the columns that identify a row.
tables=(
    "flights time_hour,carrier,flight"
    "airlines carrier"
    "airports faa"
)

# One start of Python instead of one per table: that is all that a second run costs.
there=$(table_ids)
loaded=0
for entry in "${tables[@]}"; do
    read -r name key <<<"$entry"
    if ! grep -qx -F "$bucket.$name" <<<"$there"; then
        in_environment docker-runner storage import "$bucket.$name" "include/sample_data/$name.csv" --primary-key "$key"
        loaded=$((loaded + 1))
    fi
done
echo "sample data: $loaded tables loaded, $((${#tables[@]} - loaded)) there already."
