"""Models' work without a model: messages of the queue, and what text alone can answer."""
