#!/bin/sh
# Creates the passwords of docker-compose.yml: a file for each, in the folder secrets/ beside it. Existing files stay.
#
#     sh deploy/docker/secrets.sh
#
# Compose mounts the files with their permissions, and each container has its own user, so every user can read the
# files, but only the owner can open the folder. Hexadecimal digits, since ClickHouse and Grafana quote differently.
set -eu
folder="$(dirname "$0")/../../secrets"
mkdir -p "$folder"
chmod 700 "$folder"
for name in clickhouse_migrator clickhouse_writer clickhouse_reader grafana_admin; do
    if [ ! -s "$folder/$name" ]; then
        od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
        chmod 444 "$folder/$name"
        echo "made secrets/$name"
    fi
done
