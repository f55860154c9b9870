#!/bin/sh
# Makes deploy/compose/.env from .env.example with a password of its own for each part. Never overwrites.
set -eu
folder="$(cd "$(dirname "$0")" && pwd)"
target="${1:-$folder/.env}"
if [ -e "$target" ]; then
    echo "$target is there already; it stays as it is." >&2
    exit 1
fi
umask 077
# Hexadecimal, so that a password can stand in an address as it is.
while IFS= read -r line; do
    case "$line" in
        *=generated) echo "${line%generated}$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
        *) printf '%s\n' "$line" ;;
    esac
done < "$folder/.env.example" > "$target"
echo "Made $target (mode 0600). Keep it: the volumes' passwords are in it."
