"""The audit chain: taken in with what happened, sealed soon after, verifiable offline."""
