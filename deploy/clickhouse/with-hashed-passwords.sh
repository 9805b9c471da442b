#!/bin/bash
# Starts the ClickHouse image with users.xml's hashes, made from passwords in the environment, which the server then never
# sees: CLICKHOUSE_WRITER_PASSWORD becomes CLICKHOUSE_WRITER_PASSWORD_SHA256, and so for the migrator and the reader.
set -euo pipefail

for role in MIGRATOR WRITER READER; do
    name="CLICKHOUSE_${role}_PASSWORD"
    : "${!name:?is not set: give each user of users.xml a password}"
    hash=$(printf %s "${!name}" | sha256sum)
    export "${name}_SHA256=${hash%% *}"
    unset "${name}"
done

exec /entrypoint.sh "$@"
