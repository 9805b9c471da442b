#!/bin/bash
# Starts the program that is given, as a rule the ClickHouse image's /entrypoint.sh, with the hashes that users.xml wants,
# made from the passwords in the files that CLICKHOUSE_WRITER_PASSWORD_FILE and its like name, or that stand in
# CLICKHOUSE_WRITER_PASSWORD itself; all that the server then sees is CLICKHOUSE_WRITER_PASSWORD_SHA256.
set -euo pipefail

for role in MIGRATOR WRITER READER; do
    name="CLICKHOUSE_${role}_PASSWORD"
    file="${name}_FILE"
    password="${!name:-}"
    if [[ -n "${!file:-}" ]]; then
        password=$(<"${!file}")
    fi
    if [[ -z "${password}" ]]; then
        echo "${name} is not set: give each user of users.xml a password" >&2
        exit 1
    fi
    hash=$(printf %s "${password}" | sha256sum)
    export "${name}_SHA256=${hash%% *}"
    unset "${name}" "${file}" password
done

exec "$@"
