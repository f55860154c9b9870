"""``somagent constitution``: what a person needs to sign a constitution and propose it. Works offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cyclopts import App, Parameter

from somagent.cli.output import OutputFormat, complain, say, show_json
from somagent.domain.canonical import canonical_bytes
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject, Model
from somagent.domain.policy.bundles import sign_bundle
from somagent.domain.policy.constitution import DEFAULT, Constitution, parse_constitution
from somagent.domain.signatures import key_id, public_pem

ContentFile = Annotated[Path, Parameter(help="The constitution's content as JSON.")]

app = App(name="constitution", help="Make keys, sign and check constitutions.", result_action="return_value")


class KeyDocument(Model):
    """The body of ``POST /v1/signing-keys``."""

    public_key: str
    key_id: str


class ProposalDocument(Model):
    """The body of ``POST /v1/constitution/proposals``."""

    content: JsonObject
    signature: str
    signer_key_id: str


@app.command
def keygen(file: Annotated[Path, Parameter(help="Where the private key goes; nothing may be there.")], /) -> int:
    """Make an Ed25519 key readable by its owner alone, and print the body that registers its public half."""
    key = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        complain(f"{file} cannot be made: {error.strerror}.")
        return 1
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    show_json(KeyDocument(public_key=public_pem(key.public_key()), key_id=key_id(key.public_key())))
    return 0


@app.command
def sign(
    file: ContentFile,
    /,
    *,
    key: Annotated[Path, Parameter(help="The private key: a PEM file that keygen made, or any of Ed25519.")],
    signer_key_id: Annotated[
        str, Parameter(name="--key-id", help="The key's id under /v1/signing-keys; its fingerprint when left out.")
    ] = "",
    output: OutputFormat = "table",
) -> int:
    """Print the signature over the content; with --output json the whole body of POST /v1/constitution/proposals."""
    try:
        content = _read(file)
        parse_constitution(content)
        private_key = _private_key(key)
    except SomaError as error:
        return _refuse(file, error)
    signature = sign_bundle(content, private_key)
    if output == "json":
        named = signer_key_id or key_id(private_key.public_key())
        show_json(ProposalDocument(content=content, signature=signature, signer_key_id=named))
    else:
        say(signature)
    return 0


@app.command
def show(
    file: Annotated[Path | None, Parameter(help="The constitution's content as JSON; else the shipped one.")] = None,
    /,
    *,
    canonical: Annotated[bool, Parameter(negative=(), help="Print the bytes that are hashed and signed.")] = False,
) -> int:
    """Print a constitution's version and hash, or its faults; without a file the shipped content, to be changed."""
    if file is None and not canonical:
        show_json(DEFAULT)
        return 0
    try:
        constitution = DEFAULT if file is None else parse_constitution(_read(file))
    except SomaError as error:
        return _refuse(file or Path(), error)
    if canonical:
        print(_canonical(constitution), end="", flush=True)
    else:
        say(f"version {constitution.version}")
        say(f"hash {constitution.content_hash}")
    return 0


def _canonical(constitution: Constitution) -> str:
    return canonical_bytes(constitution.model_dump(mode="json")).decode()


def _read(file: Path) -> JsonObject:
    try:
        content: JsonObject = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise SomaError(Code.CONSTITUTION_INVALID, f"{file} cannot be read as JSON: {error}.") from error
    return content


def _private_key(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        detail = f"{file} is not a private key in PEM without a password."
        raise SomaError(Code.CONSTITUTION_INVALID, detail) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SomaError(Code.CONSTITUTION_INVALID, f"{file} holds a key of another kind; Ed25519 is needed.")
    return key


def _refuse(file: Path, error: SomaError) -> int:
    complain(error.detail)
    for fault in error.errors:
        complain(f"  {fault.path or file.name}: {fault.detail}  [{fault.code}]")
    return 1
