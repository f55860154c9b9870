"""Models: the port, the built-in provider, and any OpenAI-compatible server."""
