"""``somagent serve``, ``worker`` and ``migrate``: SomaGent's own processes, one at a time."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from cyclopts import Parameter

from somagent.cli.output import say
from somagent.domain.errors import Code, SomaError

Port = Annotated[int | None, Parameter(help="The port to listen on; each process has its own default.")]
Role = Literal["workflows", "activities", "slm", "relay"]


def serve(
    name: str | None = None,
    /,
    *,
    port: Port = None,
    host: Annotated[str | None, Parameter(help="The address to listen on.")] = None,
) -> int:
    """Run the API with every service, or the service NAME alone."""
    from somagent.api.server import serve as serve_api  # the web framework, for this command only

    serve_api(name, host, port)
    return 0


def worker(
    *, role: Annotated[Role, Parameter(help="Which task queue or stream to work on.")], port: Port = None
) -> int:
    """Run a worker until a signal ends it; health and metrics are on its port."""
    from somagent.workers.main import run  # Temporal's SDK, for this command only

    run(role, port)
    return 0


def migrate() -> int:
    """Bring the database at POSTGRES_URL to the current schema, and its roles to their passwords.

    The passwords are those of SOMAGENT_POSTGRES_APP_URL and SOMAGENT_POSTGRES_SYSTEM_URL.
    """
    from somagent.adapters.postgres.migrate import migrate as migrate_database
    from somagent.adapters.settings import load_settings

    settings = load_settings()
    owner = settings.postgres_url.get_secret_value()
    passwords = {
        variable: unquote(urlsplit(url.get_secret_value()).password or "")
        for variable, url in (
            ("SOMAGENT_POSTGRES_APP_URL", settings.postgres_app_url),
            ("SOMAGENT_POSTGRES_SYSTEM_URL", settings.postgres_system_url),
        )
    }
    absent = [variable for variable, password in passwords.items() if not password]
    if not owner or absent:
        wanted = ", ".join(([] if owner else ["POSTGRES_URL"]) + absent)
        raise SomaError(Code.INPUT_INVALID, f"Set {wanted} in the environment: addresses with user and password.")
    migrate_database(owner, *passwords.values())
    say("The database is at the current schema.")
    return 0
