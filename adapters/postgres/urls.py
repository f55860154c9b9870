"""Forms of a Postgres address: libpq's, asyncpg's and SQLAlchemy's."""

from __future__ import annotations

from sqlalchemy import URL, make_url


def sqlalchemy_url(address: str) -> URL:
    """A ``postgresql://`` address as SQLAlchemy's asyncpg URL; ``?host=DIR`` stays a socket folder."""
    return make_url(address).set(drivername="postgresql+asyncpg")


def with_login(address: str, user: str, password: str) -> str:
    """The same server and database under another role."""
    url = make_url(address).set(drivername="postgresql", username=user, password=password)
    return url.render_as_string(hide_password=False)
