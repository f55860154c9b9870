"""domain.slm."""
