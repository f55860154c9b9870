"""One queue, several brokers: the port, and Redis Streams."""
