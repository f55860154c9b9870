"""Tenants' settings, model profiles, preferences."""
