"""What a prompt may not ask for, as pure functions."""
