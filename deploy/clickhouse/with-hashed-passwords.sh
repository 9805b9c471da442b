#!/bin/bash
# Starts the program that is given, as a rule the ClickHouse image's /entrypoint.sh, with the hashes that users.xml wants,
# made from passwords in the environment, which the server then never sees: CLICKHOUSE_WRITER_PASSWORD becomes
# CLICKHOUSE_WRITER_PASSWORD_SHA256, and so for the migrator and the reader.
set -euo pipefail

for role in MIGRATOR WRITER READER; do
    name="CLICKHOUSE_${role}_PASSWORD"
    if [[ -z "${!name:-}" ]]; then
        echo "${name} is not set: give each user of users.xml a password" >&2
        exit 1
    fi
    hash=$(printf %s "${!name}" | sha256sum)
    export "${name}_SHA256=${hash%% *}"
    unset "${name}"
done

exec "$@"
