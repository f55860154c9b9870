"""Asking models outside jobs: sessions, chat and inference."""
