#!/bin/sh
# Runs once, when the volume is empty: one role and database for SomaGent, one role and two databases for Temporal.
# Passwords come from the environment and are quoted by psql itself, so that any character may stand in them.
# somagent makes the roles soma_app and soma_system itself (`somagent migrate`), hence CREATEROLE; no superuser.
# Only a superuser may make the extension vector; btree_gin, which Temporal needs, its owner makes himself.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv somagent_password SOMAGENT_DB_PASSWORD
\getenv temporal_password TEMPORAL_DB_PASSWORD
CREATE ROLE somagent LOGIN CREATEROLE PASSWORD :'somagent_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE somagent OWNER somagent;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
SQL
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname somagent \
    --command 'CREATE EXTENSION IF NOT EXISTS vector'
