"""Checking an audit export offline: that nothing in it was changed, dropped, moved, added or cut off.

Whoever holds the document alone can check it against the keys that it brings; that shows that it is whole, not who
made it. Keys had from elsewhere (``trusted``) pin the issuer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import JsonValue, ValidationError

from somagent.domain.audit.chain import GENESIS, HASHED_FIELDS, HEAD_PAYLOAD_TYPE, entry_hash, head_payload
from somagent.domain.audit.export import FORMAT, HEADER_PAYLOAD_TYPE, ExportHead, ExportHeader, SignedHeader
from somagent.domain.errors import SomaError
from somagent.domain.model import JsonObject
from somagent.domain.signatures import load_public_key, thumbprint, verify

_FIELDS = frozenset((*HASHED_FIELDS, "hash"))


@dataclass(frozen=True, slots=True)
class AuditFault:
    """What is wrong, and from which entry on.

    Attributes:
        seq: the first entry that is wrong or missing; None where the fault is not at an entry.
        code: malformed, changed, dropped, reordered, duplicated, foreign, cut_off, beyond_head, count, signature, key.
    """

    seq: int | None
    code: str
    detail: str

    def __str__(self) -> str:
        return self.detail if self.seq is None else f"entry {self.seq}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a document claims, and the faults in it: none when it is whole, else the earliest entry's first."""

    tenant_id: str = ""
    entries: int = 0
    first_seq: int = 0
    head_seq: int = 0
    head_hash: str = ""
    kid: str = ""
    faults: tuple[AuditFault, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify_export(document: JsonValue, trusted: Collection[str] | None = None) -> Verification:
    """Check an export that was read by :func:`~somagent.domain.audit.chain.read_json`.

    Args:
        trusted: the ids (RFC 7638 thumbprints) of the keys that may have signed; None: any that the document brings.
    """
    try:
        header, entries, head, keys = _parts(document)
        faults = [
            *_chain_faults(header, entries, head),
            *_head_faults(header, head, keys, trusted),
            *_header_faults(header, len(entries), keys, trusted),
        ]
    except (ValidationError, SomaError, ValueError, TypeError) as error:
        return Verification(faults=(AuditFault(None, "malformed", f"this is no audit export: {_words(error)}"),))
    return Verification(
        tenant_id=header.tenant_id,
        entries=len(entries),
        first_seq=header.first_seq,
        head_seq=head.seq,
        head_hash=head.hash,
        kid=head.kid,
        faults=tuple(faults),
    )


def _parts(
    document: JsonValue,
) -> tuple[SignedHeader, Sequence[JsonValue], ExportHead, Mapping[str, Ed25519PublicKey]]:
    if not isinstance(document, dict) or document.keys() != {"header", "entries", "head", "public_keys"}:
        raise ValueError("it needs header, entries, head and public_keys, and nothing else")
    entries, jwks = document["entries"], document["public_keys"]
    if not isinstance(entries, list) or not isinstance(jwks, list):
        raise ValueError("entries and public_keys are lists")
    header = SignedHeader.model_validate(document["header"])
    if header.format != FORMAT:
        raise ValueError(f"its format is {header.format!r}, and this reads {FORMAT!r}")
    keys = [load_public_key(orjson.dumps(jwk).decode()) for jwk in jwks]
    # A key's name is made of the key, so that nobody can pass one off for another.
    return header, entries, ExportHead.model_validate(document["head"]), {thumbprint(key): key for key in keys}


def _chain_faults(header: ExportHeader, entries: Sequence[JsonValue], head: ExportHead) -> list[AuditFault]:
    """The first fault among the entries, if there is one."""
    if header.first_seq < 1 or (header.first_seq == 1) != (header.previous_hash == GENESIS):
        return [AuditFault(header.first_seq, "malformed", "the header says another beginning than a chain can have")]
    previous = header.previous_hash
    for position, raw in enumerate(entries):
        seq = header.first_seq + position
        entry = _entry(raw)
        if entry is None:
            return [AuditFault(seq, "malformed", "it has not the fields of an entry")]
        if entry["seq"] != seq:
            return [_misplaced(seq, entry, entries, position)]
        if entry["tenant_id"] != header.tenant_id:
            return [AuditFault(seq, "foreign", "it belongs to another tenant's chain")]
        if not _is_itself(entry):
            return [AuditFault(seq, "changed", "it is not what was sealed: its hash does not fit")]
        if entry["previous_hash"] != previous:
            return [_unlinked(seq, position)]
        previous = str(entry["hash"])
    return _end_faults(header.first_seq + len(entries) - 1, previous, head)


def _entry(raw: JsonValue) -> JsonObject | None:
    return raw if isinstance(raw, dict) and raw.keys() == _FIELDS else None


def _is_itself(entry: JsonObject) -> bool:
    try:
        return entry["hash"] == entry_hash(entry)
    except SomaError:
        return False


def _misplaced(seq: int, found: JsonObject, entries: Sequence[JsonValue], position: int) -> AuditFault:
    """Where another entry stands than the one that is due."""
    if any(isinstance(earlier, dict) and earlier["seq"] == found["seq"] for earlier in entries[:position]):
        return AuditFault(seq, "duplicated", f"entry {found['seq']!r} stands in its place a second time")
    if any(isinstance(later, dict) and later.get("seq") == seq for later in entries[position + 1 :]):
        return AuditFault(seq, "reordered", f"entry {found['seq']!r} stands in its place, and it comes later")
    return AuditFault(seq, "dropped", f"it is missing; entry {found['seq']!r} stands in its place")


def _unlinked(seq: int, position: int) -> AuditFault:
    """An entry that is in order by itself and follows another entry than the one before it: that one was changed."""
    if position == 0:
        return AuditFault(seq, "changed", "it does not follow the entry that the header names")
    return AuditFault(seq - 1, "changed", f"it was replaced: entry {seq} was sealed after another one")


def _end_faults(last: int, last_hash: str, head: ExportHead) -> list[AuditFault]:
    if last < head.seq:
        return [AuditFault(last + 1, "cut_off", f"the chain was cut off here; it goes on to entry {head.seq}")]
    if last > head.seq:
        return [AuditFault(head.seq + 1, "beyond_head", f"the signed head ends at entry {head.seq}")]
    if last_hash != head.hash:
        return [AuditFault(last, "changed", "it is not the one that the signed head names")]
    return []


def _head_faults(
    header: ExportHeader, head: ExportHead, keys: Mapping[str, Ed25519PublicKey], trusted: Collection[str] | None
) -> list[AuditFault]:
    if head.tenant_id != header.tenant_id:
        return [AuditFault(head.seq, "foreign", f"the head is that of tenant {head.tenant_id!r}")]
    payload = head_payload(head.tenant_id, head.seq, head.hash)
    return _signature_faults(HEAD_PAYLOAD_TYPE, payload, head.signature, head.kid, keys, trusted, head.seq, "head")


def _header_faults(
    header: SignedHeader, entries: int, keys: Mapping[str, Ed25519PublicKey], trusted: Collection[str] | None
) -> list[AuditFault]:
    faults = []
    if header.entries != entries:
        faults.append(AuditFault(None, "count", f"the header says {header.entries} entries, and there are {entries}"))
    payload = ExportHeader.model_validate(header.model_dump(exclude={"signature", "kid"})).payload()
    return faults + _signature_faults(
        HEADER_PAYLOAD_TYPE, payload, header.signature, header.kid, keys, trusted, None, "header"
    )


def _signature_faults(
    payload_type: str,
    payload: bytes,
    signature: str,
    kid: str,
    keys: Mapping[str, Ed25519PublicKey],
    trusted: Collection[str] | None,
    seq: int | None,
    what: str,
) -> list[AuditFault]:
    if trusted is not None and kid not in trusted:
        return [AuditFault(seq, "key", f"the {what} is signed by {kid!r}, which is not the key asked for")]
    if kid not in keys:
        return [AuditFault(seq, "key", f"the {what} is signed by {kid!r}, which is not among the document's keys")]
    try:
        verify((payload_type,), payload, signature, keys[kid])
    except SomaError:
        return [AuditFault(seq, "signature", f"the {what} is not what was signed: its signature does not hold")]
    return []


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])!a}: {first['msg']}"
    return error.detail if isinstance(error, SomaError) else str(error)
