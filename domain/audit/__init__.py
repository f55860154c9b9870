"""The audit chain as pure functions."""
