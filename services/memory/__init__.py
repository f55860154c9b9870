"""Memory in Postgres: remember, recall, retrieve, erase."""

from somagent.services.memory.service import MemoryService
from somagent.services.memory.store import Author

__all__ = ["Author", "MemoryService"]
