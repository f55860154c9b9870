"""Conversations through the gate."""
