"""What one sandboxed program may use of the machine."""

from __future__ import annotations

ADDRESS_SPACE_BYTES = 4 * 1024**3
FILE_BYTES = 1024**3
OPEN_FILES = 1024
PROCESSES = 256
"""Processes and threads together."""
TEMPORARY_BYTES = 1024**3
"""Size of /tmp, which lies in memory."""
