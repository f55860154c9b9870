"""A little OpenID Connect provider, as an outside party of the tests: ``python -m ... PORT``.

It lets everybody in as the ``login_hint`` of ``POST /behaviour`` says, and can be told to misbehave there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT, SECRET = "somagent-of-the-tests", "a secret between the two"
KEYS = [RSAKey.generate_key(2048, {"kid": "first"})]
STRANGER = RSAKey.generate_key(2048, {"kid": "first"})
CODES: dict[str, dict[str, str]] = {}
BEHAVIOUR: dict[str, Any] = {}


class Provider(BaseHTTPRequestHandler):
    """One request."""

    def log_message(self, *_: object) -> None:
        """Silence."""

    @property
    def issuer(self) -> str:
        return f"http://{self.headers['Host']}"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            self._json({
                "issuer": BEHAVIOUR.get("discovery_issuer", self.issuer),
                "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks", "id_token_signing_alg_values_supported": ["RS256"],
            })  # fmt: skip
        elif parts.path == "/jwks":
            self._json({"keys": [key.as_dict(private=False, use="sig", alg="RS256") for key in KEYS]})
        elif parts.path == "/authorize":
            assert query["client_id"] == CLIENT
            assert query["code_challenge_method"] == "S256"
            code = secrets.token_urlsafe(16)
            CODES[code] = query
            self.send_response(302)
            self.send_header(
                "Location", query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"]})
            )
            self.end_headers()
        else:
            self._json({}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/behaviour":
            BEHAVIOUR.clear()
            BEHAVIOUR.update(json.loads(body))
            if BEHAVIOUR.pop("new_key", False):
                KEYS[:] = [RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)})]
            self._json({})
            return
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = CODES.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if self.headers["Authorization"] != expected or asked is None:
            self._json({"error": "invalid_client"}, 401)
        elif asked["code_challenge"] != challenge.decode() or asked["redirect_uri"] != form["redirect_uri"]:
            self._json({"error": "invalid_grant"}, 400)
        else:
            self._json({"access_token": "x", "token_type": "Bearer", "id_token": self._id_token(asked)})

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": "248289761001", "aud": CLIENT, "exp": now + 300, "iat": now,
            "nonce": asked["nonce"], "name": "Jane Doe", "preferred_username": "jane",
            "email": "jane@example.org", "email_verified": True,
        } | BEHAVIOUR.get("claims", {})  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        match BEHAVIOUR.get("signed_by"):
            case "nobody":
                parts = [json.dumps({"alg": "none"}), json.dumps(claims)]
                return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."
            case "client_secret":
                header = {"alg": "HS256", "kid": "first"}
                return jwt.encode(header, claims, OctKey.import_key(SECRET), algorithms=["HS256"])
            case "public_key":
                secret = OctKey.import_key(base64.b64encode(KEYS[0].as_pem(private=False)))
                return jwt.encode({"alg": "HS256", "kid": "first"}, claims, secret, algorithms=["HS256"])
            case "stranger":
                return jwt.encode({"alg": "RS256", "kid": "first"}, claims, STRANGER, algorithms=["RS256"])
            case _:
                return jwt.encode({"alg": "RS256", "kid": KEYS[0].kid}, claims, KEYS[0], algorithms=["RS256"])

    def _json(self, document: object, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
