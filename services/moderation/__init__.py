"""Moderation: strikes, locks, appeals."""
