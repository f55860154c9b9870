#!/bin/sh
# Makes a build the current one, after its workers poll: until then new runs go to the build before, and where there
# was none they wait. Safe to repeat. Reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, SOMAGENT_DEPLOYMENT,
# SOMAGENT_BUILD_ID.
set -eu
tries=0
until temporal worker deployment set-current-version --yes --namespace "${TEMPORAL_NAMESPACE:-default}" \
    --deployment-name "$SOMAGENT_DEPLOYMENT" --build-id "$SOMAGENT_BUILD_ID"; do
    tries=$((tries + 1))
    if [ "$tries" -ge "${TRIES:-60}" ]; then
        echo "Build $SOMAGENT_BUILD_ID could not be made the current one; do its workers run and reach Temporal?" >&2
        exit 1
    fi
    sleep 5
done
echo "New runs go to build $SOMAGENT_BUILD_ID of $SOMAGENT_DEPLOYMENT."
