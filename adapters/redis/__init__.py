"""adapters.redis."""
