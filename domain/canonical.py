"""The one byte form of a JSON value, and its hash: RFC 8785 (JSON Canonicalization Scheme)."""

from __future__ import annotations

import hashlib
from typing import cast

import rfc8785
from pydantic import JsonValue

from somagent.domain.errors import Code, SomaError

_HINT = "numbers must be finite and integers within ±(2^53 - 1); pass larger ones as strings"


def canonical_bytes(value: JsonValue) -> bytes:
    """The canonical JSON of ``value``: UTF-8, keys sorted by UTF-16 code units, numbers as ECMAScript writes them.

    Raises:
        SomaError: VALIDATION_FAILED for what RFC 8785 cannot hold: NaN, infinities, integers beyond 2^53 - 1, lone
            surrogates, keys that are not strings, values that are not JSON, or nesting too deep to be walked.
    """
    try:
        # The cast crosses from pydantic's recursive alias to the library's own: the same values.
        return rfc8785.dumps(cast("dict[str, object]", value))  # type: ignore[arg-type]
    except RecursionError:
        raise SomaError(
            Code.VALIDATION_FAILED, "The value cannot be canonicalised: it is nested too deeply; flatten it."
        ) from None
    except ValueError as error:
        raise SomaError(
            Code.VALIDATION_FAILED, f"The value has no canonical JSON form (RFC 8785): {error}; {_HINT}."
        ) from None


def sha256_hex(value: JsonValue) -> str:
    """The lower-case hex SHA-256 of the canonical JSON of ``value``; raises as :func:`canonical_bytes` does."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()
