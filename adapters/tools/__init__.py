"""adapters.tools."""
