"""adapters.postgres."""
