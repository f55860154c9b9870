"""Redis: waking, caching and, on the embedded default, queueing. It may lose everything and be rebuilt."""
