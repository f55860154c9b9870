"""No secret that passes through identity is found afterwards: in no table, log or Redis key."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pyotp
import redis

from somagent.tests.api.servers import ApiServer
from somagent.tests.identity.sealing import seal_everything

OLD, NEW = "a first password of mine", "a second password of mine"


def every_text(api: ApiServer) -> Iterator[tuple[str, str]]:
    """Everything that is kept, by where."""
    tables = api.postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in (row["tablename"] for row in tables):
        for row in api.postgres.run(f'SELECT kept::text AS text FROM "{table}" AS kept'):  # noqa: S608
            yield table, row["text"]
    for row in api.postgres.run("SELECT convert_from(body, 'utf8') AS text FROM idempotency_keys"):
        yield "answers", row["text"]
    yield "log", api.log_file.read_text()
    with redis.Redis.from_url(api.redis.url) as client:
        for key in client.scan_iter():
            kind = client.type(key)
            value = client.get(key) if kind == b"string" else client.dump(key)
            yield "redis", repr((key, value))


def test_nothing_of_it_is_kept(api: ApiServer, admin: httpx.Client, nobody: httpx.Client) -> None:
    secrets = {OLD, NEW, "a wrong password, of course", "my-password-typed-as-name"}
    made = admin.post(
        "/v1/users",
        json={"user_id": "discreet", "password": OLD, "capabilities": ["job:read"]},
        headers={"Idempotency-Key": "discreet"},
    )
    assert made.status_code == 201

    def log_in(**more: object) -> httpx.Response:
        return nobody.post("/v1/tokens/issue", json={"user_id": "discreet", "tenant_id": "acme"} | more)

    def remember(*texts: str) -> None:
        secrets.update(texts)

    token = log_in(password=OLD).json()["token"]
    remember(token, token.rpartition(".")[2])
    own = {"Authorization": f"Bearer {token}"}
    assert log_in(password="a wrong password, of course").status_code == 401
    assert log_in(user_id="my-password-typed-as-name", password=OLD).status_code == 401
    key = nobody.post(
        "/v1/users/discreet/api-keys", json={"label": "x"}, headers=own | {"Idempotency-Key": "the-key"}
    ).json()["api_key"]
    remember(key, key.removeprefix("soma_"))
    assert log_in(api_key=key).status_code == 200
    enrolment = nobody.post("/v1/users/discreet/mfa/enroll", headers=own).json()
    remember(enrolment["secret"], enrolment["otpauth_uri"])
    totp = pyotp.TOTP(enrolment["secret"])
    confirmed = nobody.post("/v1/users/discreet/mfa/verify", json={"code": totp.at(time.time() - 30)}, headers=own)
    assert confirmed.status_code == 200
    assert log_in(password=OLD, mfa_code=totp.now()).status_code == 200
    change = {"old_password": OLD, "new_password": NEW}
    assert nobody.post("/v1/users/discreet/password", json=change, headers=own).status_code == 204
    last = log_in(password=NEW, mfa_code=totp.at(time.time() + 30)).json()["token"]
    remember(last)
    by_last = {"Authorization": f"Bearer {last}"}
    assert nobody.post("/v1/tokens/verify", json={"token": last}, headers=by_last).json()["valid"] is True
    assert nobody.post("/v1/tokens/revoke", json={"token": last}, headers=by_last).status_code == 200
    seal_everything(api.postgres)

    places = set()
    for place, text in every_text(api):
        places.add(place)
        for secret in secrets:
            assert secret not in text, place
    assert {"audit_entries", "outbox", "users", "api_keys", "idempotency_keys", "answers", "log"} <= places


def test_everything_is_recorded(api: ApiServer) -> None:
    seal_everything(api.postgres)
    entries = api.postgres.run(
        "SELECT action, actor, outcome FROM audit_entries WHERE object = 'user:discreet' AND topic = 'identity.audit' "
        "ORDER BY seq"
    )
    assert [tuple(row.values()) for row in entries] == [
        ("user.created", "root", "done"),
        ("token.issued", "discreet", "done"),
        ("token.refused", "discreet", "refused"),
        ("api_key.created", "discreet", "done"),
        ("token.issued", "discreet", "done"),
        ("mfa.enrolled", "discreet", "done"),
        ("mfa.confirmed", "discreet", "done"),
        ("token.issued", "discreet", "done"),
        ("user.password_changed", "discreet", "done"),
        ("token.issued", "discreet", "done"),
        ("token.revoked", "discreet", "done"),
    ]
