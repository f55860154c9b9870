"""adapters.slm."""
