"""The audit chain: what an entry's hash is over, and what a head's signature is over.

An entry's hash is the SHA-256 of the RFC 8785 form of all its fields but the hash itself, the hash of the entry before
among them. Whoever knows the last hash can therefore tell whether any entry was changed, dropped or moved. The last
hash with its number is the head, which the deployment signs (DSSE, Ed25519).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, cast

from pydantic import JsonValue

from somagent.domain.canonical import canonical_bytes, sha256_hex
from somagent.domain.model import JsonObject

GENESIS: Final = "0" * 64
"""What the first entry of a chain has for the hash of the entry before."""

HEAD_PAYLOAD_TYPE: Final = "application/vnd.somagent.audit-head+json"
"""The DSSE payload type of a signed head."""

HASHED_FIELDS: Final = (
    "tenant_id", "seq", "occurred_at", "topic", "actor", "action", "object", "outcome", "detail", "request_id",
    "trace_id", "previous_hash",
)  # fmt: skip
"""What an entry's hash is over, and with ``hash`` every field that an entry has."""

_LARGEST_EXACT: Final = 2**53 - 1


def entry_hash(fields: Mapping[str, JsonValue]) -> str:
    """The hash of an entry, in lower-case hex; ``fields`` may hold ``hash``, which is left out.

    Raises:
        KeyError: a field is missing.
        SomaError: ``validation_failed``, when a value has no RFC 8785 form.
    """
    return sha256_hex({name: fields[name] for name in HASHED_FIELDS})


def head_payload(tenant_id: str, seq: int, hash_: str) -> bytes:
    """What a head's signature is over: the chain's tenant, the number of its last entry and that entry's hash."""
    return canonical_bytes({"tenant_id": tenant_id, "seq": seq, "hash": hash_})


def read_json(text: str | bytes) -> JsonValue:
    """JSON as the chain reads it, so that every reader computes the same hash.

    RFC 8785 knows numbers as IEEE 754 doubles only. An integer beyond ±(2^53 - 1), or a number too large for a double,
    is therefore taken for the text it is written as.

    Raises:
        ValueError: not JSON; or a name stands twice in one object, of which readers would take one or the other.
    """
    return cast(
        "JsonValue",
        json.loads(
            text,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_no_number,
            object_pairs_hook=_object,
        ),
    )


def storable(value: JsonValue) -> JsonValue:
    """``value`` as it can be kept and hashed: what Postgres or RFC 8785 cannot hold is replaced.

    NUL characters and lone surrogates become U+FFFD, integers beyond ±(2^53 - 1) their digits, NaN and infinities null.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\x00", "\ufffd")
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [storable(item) for item in value]
    return {str(storable(name)): storable(item) for name, item in value.items()}


def _integer(digits: str) -> int | str:
    if len(digits) > len(str(-_LARGEST_EXACT)):
        return digits
    number = int(digits)
    return number if abs(number) <= _LARGEST_EXACT else digits


def _number(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return value
