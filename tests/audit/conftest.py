"""The API's own servers, for these tests too."""

from somagent.tests.api.conftest import api, api_postgres, api_redis, client, nobody

__all__ = ["api", "api_postgres", "api_redis", "client", "nobody"]
