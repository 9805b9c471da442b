#!/bin/bash
# Starts the given program, usually the ClickHouse image's /entrypoint.sh, with the password hashes that users.xml
# needs. Each password is in the file that CLICKHOUSE_WRITER_PASSWORD_FILE names (READER and MIGRATOR alike), or in
# CLICKHOUSE_WRITER_PASSWORD itself. The server sees only CLICKHOUSE_WRITER_PASSWORD_SHA256.
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
