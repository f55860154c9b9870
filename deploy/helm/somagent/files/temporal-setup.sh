#!/bin/sh
# Makes ready what SomaGent needs of Temporal: the namespace, and the search attributes by which runs are found.
# Safe to repeat. Reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_RETENTION, TEMPORAL_CREATE_NAMESPACE.
set -eu
namespace="${TEMPORAL_NAMESPACE:-default}"

tries=0
until temporal operator cluster health >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
        echo "Temporal at ${TEMPORAL_ADDRESS:-127.0.0.1:7233} does not answer; is the address right, is it reachable?" >&2
        exit 1
    fi
    sleep 2
done

if ! temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
    if [ "${TEMPORAL_CREATE_NAMESPACE:-true}" != true ]; then
        echo "Temporal has no namespace $namespace, and making it was not allowed here." >&2
        exit 1
    fi
    temporal operator namespace create --namespace "$namespace" --retention "${TEMPORAL_RETENTION:-30d}"
fi

# A namespace made a moment ago is not known everywhere at once: some seconds of patience.
for attribute in SomaTenant SomaCapsule SomaStatus SomaSession; do
    tries=0
    until temporal operator search-attribute list --namespace "$namespace" 2>/dev/null | grep -qw "$attribute"; do
        tries=$((tries + 1))
        if [ "$tries" -ge 30 ]; then
            echo "The search attribute $attribute could not be made in namespace $namespace." >&2
            exit 1
        fi
        temporal operator search-attribute create --namespace "$namespace" --name "$attribute" --type Keyword || sleep 2
    done
done
echo "Temporal is ready: namespace $namespace with SomaGent's search attributes."
