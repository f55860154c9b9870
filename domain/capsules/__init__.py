"""domain.capsules."""
