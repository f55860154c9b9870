#!/bin/sh
# Brings Temporal's two databases to the schema of the server's version. Safe to repeat, and needed before an upgrade.
set -eu
export SQL_PLUGIN=postgres12 SQL_HOST=postgres SQL_PORT=5432 SQL_USER=temporal
for pair in temporal:temporal temporal_visibility:visibility; do
    database="${pair%%:*}"
    schema="/etc/temporal/schema/postgresql/v12/${pair##*:}/versioned"
    temporal-sql-tool --database "$database" setup-schema --version 0.0
    temporal-sql-tool --database "$database" update-schema --schema-dir "$schema"
done
echo "Temporal's databases are at the current schema."
