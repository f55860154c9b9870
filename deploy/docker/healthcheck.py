"""The image's health check: 0 when this container's process answers on its own port.

A worker has SOMAGENT_WORKER_PORT; the API answers on SOMAGENT_PORT. Only the standard library: it runs every few
seconds.
"""

from __future__ import annotations

import http.client
import os
import sys

_SECONDS = 4.0


def main() -> int:
    """Asks ``/health`` once."""
    port = int(os.environ.get("SOMAGENT_WORKER_PORT") or 0) or int(os.environ.get("SOMAGENT_PORT") or 8080)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        sys.stderr.write(f"port {port} does not answer: {error}\n")
        return 1
    finally:
        connection.close()
    if status != http.client.OK:
        sys.stderr.write(f"/health answered {status}\n")
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
