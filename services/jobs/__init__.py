"""Jobs: making, working, controlling and reading them."""
