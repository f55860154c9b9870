"""The embedded Redis: loopback with a password, every write in an append-only file."""

from __future__ import annotations

import os

from somagent.deploy.local.files import write_private
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.part import Part
from somagent.deploy.local.parts import Found
from somagent.deploy.local.ports import HOST
from somagent.deploy.local.processes import Launch

NAME = "redis"


def local_url(port: int, password: str) -> str:
    """The address of the embedded Redis."""
    return f"redis://:{password}@{HOST}:{port}/0"


def part(layout: Layout, found: Found, port: int, password: str) -> Part:
    """Redis on this stack's folder. The password stands in a file, since arguments are seen by every user."""
    configuration = layout.run / "redis.conf"
    write_private(
        configuration,
        "\n".join(
            [
                f"bind {HOST}",
                f"port {port}",
                f"requirepass {password}",
                f'dir "{layout.redis}"',
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
                "daemonize no",
                "loglevel notice",
                "",
            ]
        ),
    )
    return Part(
        name=NAME,
        launch=Launch(
            argv=[str(found.path), str(configuration)],
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        ),
        url=f"redis://{HOST}:{port}/0",
        probe=local_url(port, password),
    )
