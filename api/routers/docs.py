"""The API's reference in the browser, from files of our own: nothing is fetched from elsewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from somagent.domain.errors import Code, SomaError

router = APIRouter(include_in_schema=False)

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>SomaGent API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset], validatorUrl: null
})
"""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS: Final = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@router.get("/docs")
async def docs() -> Response:
    """The page."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/assets/start.js")
async def start() -> Response:
    """What opens the reference on the page."""
    return Response(_START, media_type="text/javascript")


@router.get("/docs/assets/{name}")
async def asset(name: str) -> Response:
    """Swagger UI's own files."""
    if name not in _ASSETS:
        raise SomaError(Code.NOT_FOUND, "There is no such file.")
    headers = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(_folder() / name, media_type=_ASSETS[name], headers=headers)


def _folder() -> Path:
    """The static files of the package fastapi-offline; the package itself is not imported."""
    found = importlib.util.find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise SomaError(
            Code.NOT_FOUND, "The package fastapi-offline is not installed, and with it the reference's page."
        )
    return Path(found.origin).parent / "static"
