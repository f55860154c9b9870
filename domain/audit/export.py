"""The document that an audit export is: what its header says, and how the header is signed.

    {"header": {...}, "entries": [...], "head": {...}, "public_keys": [...]}

The head proves where the chain ends, the header proves where the document begins: without its signature somebody
could leave out the first entries and say that only the later ones were asked for.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from somagent.domain.canonical import canonical_bytes
from somagent.domain.model import Model

FORMAT: Final = "somagent-audit/1"
HEADER_PAYLOAD_TYPE: Final = "application/vnd.somagent.audit-export+json"
"""The DSSE payload type of a signed header."""


class ExportHeader(Model):
    """What the document holds."""

    format: str = Field(default=FORMAT, description=f"`{FORMAT}`")
    tenant_id: str
    exported_at: str = Field(description="RFC 3339, UTC")
    first_seq: int = Field(description="The number of the first entry; 1 for the whole chain")
    entries: int = Field(description="How many entries there are")
    previous_hash: str = Field(description="The hash of the entry before the first; 64 zeros for the whole chain")

    def payload(self) -> bytes:
        """What the header's signature is over."""
        return canonical_bytes(self.model_dump())


class SignedHeader(ExportHeader):
    """The header as it stands in the document."""

    signature: str = Field(
        description=f"DSSE over the RFC 8785 form of the other fields but kid; payload type `{HEADER_PAYLOAD_TYPE}`"
    )
    kid: str


class ExportHead(Model):
    """Where the chain ended when the document was made."""

    tenant_id: str
    seq: int = Field(description="The number of the last entry")
    hash: str = Field(description="The hash of the last entry")
    signature: str = Field(
        description="DSSE over the RFC 8785 form of {tenant_id, seq, hash}; "
        "payload type `application/vnd.somagent.audit-head+json`"
    )
    kid: str = Field(description="The key of the deployment that signed, see /.well-known/jwks.json")
    signed_at: str = Field(description="RFC 3339, UTC; not itself signed")
