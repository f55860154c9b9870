"""adapters.temporal."""
