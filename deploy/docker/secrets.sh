#!/bin/sh
# Makes the passwords of docker-compose.yml: a file for each, in the folder secrets/ beside it. What is there stays.
#
#     sh deploy/docker/secrets.sh
#
# Compose mounts a file as it is, and each container has a user of its own, so the files can be read by everybody; the
# folder by its owner only. Hexadecimal digits: ClickHouse and Grafana each have their own idea of quoting.
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
