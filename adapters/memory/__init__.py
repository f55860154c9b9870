"""Adapters that memory stands on."""
