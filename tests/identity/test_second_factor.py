"""TOTP: enrolled, confirmed, asked for, and each code taken once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pyotp

from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

NewUser = Callable[..., str]
LogIn = Callable[..., httpx.Response]
STEP = 30


def enrolled(admin: httpx.Client, user: str) -> pyotp.TOTP:
    """A confirmed second factor, and the code of the present step still unused."""
    secret = admin.post(f"/v1/users/{user}/mfa/enroll").json()["secret"]
    totp = pyotp.TOTP(secret)
    _early_in_a_step()
    confirmed = admin.post(f"/v1/users/{user}/mfa/verify", json={"code": totp.at(time.time() - STEP)})
    assert confirmed.status_code == 200, confirmed.text
    assert confirmed.json()["mfa_enabled"] is True
    return totp


def _early_in_a_step() -> None:
    """So that a step does not end in the middle of a test."""
    if (left := STEP - time.time() % STEP) < 10:
        time.sleep(left)


def test_from_the_secret_to_a_token(admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    shown = admin.post(f"/v1/users/{user}/mfa/enroll")
    assert shown.headers["cache-control"] == "no-store"
    uri = urlsplit(shown.json()["otpauth_uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert user in unquote(uri.path)
    assert parse_qs(uri.query)["secret"] == [shown.json()["secret"]]
    assert log_in(user).status_code == 200  # unconfirmed, it is not asked for
    totp = enrolled(admin, user)
    problem(admin.post(f"/v1/users/{user}/mfa/enroll"), 409, "mfa_already_enrolled")
    problem(admin.post(f"/v1/users/{user}/mfa/verify", json={"code": totp.now()}), 409, "mfa_already_enrolled")
    problem(log_in(user), 401, "mfa_required")
    assert log_in(user, mfa_code=totp.now()).status_code == 200
    problem(log_in(user, mfa_code=totp.now()), 401, "mfa_invalid")
    problem(log_in(user, password="wrong", mfa_code=totp.now()), 401, "credentials_invalid")
    assert admin.delete(f"/v1/users/{user}/mfa").status_code == 204
    problem(admin.delete(f"/v1/users/{user}/mfa"), 409, "mfa_not_enrolled")
    assert log_in(user).status_code == 200


def test_one_step_early_or_late_and_no_more(admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    totp = enrolled(admin, user)
    for steps in (-2, 2, 3):
        problem(log_in(user, mfa_code=totp.at(time.time() + steps * STEP)), 401, "mfa_invalid")
    assert log_in(user, mfa_code=totp.at(time.time() + STEP)).status_code == 200
    problem(log_in(user, mfa_code=totp.now()), 401, "mfa_invalid")  # older than the one that was taken


def test_one_code_used_by_twenty_passes_once(admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    code = enrolled(admin, user).now()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: log_in(user, mfa_code=code).status_code, range(20)))
    assert answers.count(200) == 1
    assert set(answers) <= {200, 401, 429}


def test_guessing_codes_locks(admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    totp = enrolled(admin, user)
    wrong = next(code for code in ("000000", "111111", "222222", "333333") if not _near(totp, code))
    for _ in range(5):
        problem(log_in(user, mfa_code=wrong), 401, "mfa_invalid")
    problem(log_in(user, mfa_code=totp.now()), 429, "account_locked")


def _near(totp: pyotp.TOTP, code: str) -> bool:
    return any(totp.at(time.time() + steps * STEP) == code for steps in range(-3, 4))


def test_codes_of_another_form(admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    for code in ("", "12345", "1234567", "abcdef", "12 456", "١٢٣٤٥٦"):
        problem(admin.post(f"/v1/users/{user}/mfa/verify", json={"code": code}), 422, "validation_failed")
    problem(admin.post(f"/v1/users/{user}/mfa/verify", json={"code": "123456"}), 409, "mfa_not_enrolled")
    enrolled(admin, user)
    for code in ("12 456", "", "١٢٣٤٥٦"):
        problem(log_in(user, mfa_code=code), 401, "mfa_invalid")


def test_an_unconfirmed_secret_is_replaced(admin: httpx.Client, new_user: NewUser) -> None:
    user = new_user("job:read")
    first = admin.post(f"/v1/users/{user}/mfa/enroll").json()["secret"]
    second = admin.post(f"/v1/users/{user}/mfa/enroll").json()["secret"]
    assert first != second
    answer = admin.post(f"/v1/users/{user}/mfa/verify", json={"code": pyotp.TOTP(first).now()})
    problem(answer, 401, "mfa_invalid")


def test_a_key_of_ones_own_needs_a_code(
    nobody: httpx.Client, admin: httpx.Client, new_user: NewUser, log_in: LogIn
) -> None:
    user = new_user("job:read")
    totp = enrolled(admin, user)
    own = {"Authorization": f"Bearer {log_in(user, mfa_code=totp.now()).json()['token']}"}
    path = f"/v1/users/{user}/api-keys"
    problem(nobody.post(path, headers=own), 401, "mfa_required")
    problem(nobody.post(path, json={"mfa_code": totp.now()}, headers=own), 401, "mfa_invalid")
    made = nobody.post(path, json={"mfa_code": totp.at(time.time() + STEP)}, headers=own)
    assert made.status_code == 201
    assert log_in(user, api_key=made.json()["api_key"]).status_code == 200  # programs have no telephone
    problem(nobody.delete(f"/v1/users/{user}/mfa", headers=own), 403, "capability_missing")


def test_the_secret_is_kept_encrypted(api: ApiServer, admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    one, two = new_user("job:read"), new_user("job:read")
    secrets = [admin.post(f"/v1/users/{user}/mfa/enroll").json()["secret"] for user in (one, two)]
    rows = api.postgres.run("SELECT mfa_secret FROM users WHERE id = ANY($1) ORDER BY id", [one, two])
    assert all(secret not in row["mfa_secret"] for secret in secrets for row in rows)
    key_file = api.postgres.keys / "secrets.aes256"
    assert key_file.stat().st_mode & 0o777 == 0o600
    api.postgres.run(
        "UPDATE users SET mfa_secret = (SELECT mfa_secret FROM users WHERE id = $1) WHERE id = $2", one, two
    )
    moved = admin.post(f"/v1/users/{two}/mfa/verify", json={"code": pyotp.TOTP(secrets[0]).now()})
    assert moved.status_code == 503
    assert moved.json()["code"] == "part_failed"
