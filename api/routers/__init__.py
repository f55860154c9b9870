"""api.routers."""
