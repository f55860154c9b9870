"""Capsules that lie as YAML files in a folder. They are as good as approved: who can write there runs the product."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import JsonValue

from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.capsules.validation import parse_definition
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.versions import newest

MAX_FILE_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FolderCapsule:
    """A capsule of the folder: as it was understood, as it was written, and its RFC 8785 hash."""

    definition: CapsuleDefinition
    document: JsonObject
    attestation_hash: str
    path: Path


@dataclass(frozen=True, slots=True)
class BrokenCapsule:
    """A file that holds no capsule that could run."""

    path: Path
    detail: str
    faults: tuple[Fault, ...]


_Stamp = tuple[int, int]


class CapsulesFolder:
    """Every ``*.yaml`` and ``*.yml`` in ``path`` itself, read again when it changes; a broken file stops no other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamps: dict[Path, _Stamp] = {}
        self._sound: dict[Path, FolderCapsule] = {}
        self._broken: dict[Path, BrokenCapsule] = {}

    def all(self) -> tuple[FolderCapsule, ...]:
        """The capsules, in the order of their files' names; of two files with the same id and version, the first."""
        self._refresh()
        found: dict[tuple[str, str], FolderCapsule] = {}
        for path in sorted(self._sound):
            capsule = self._sound[path]
            found.setdefault((capsule.definition.id, capsule.definition.version), capsule)
        return tuple(found.values())

    def broken(self) -> tuple[BrokenCapsule, ...]:
        """The files that could not be used, each with its faults."""
        self._refresh()
        return tuple(self._broken[path] for path in sorted(self._broken))

    def find(self, capsule_id: str, version: str | None = None) -> FolderCapsule | None:
        """The capsule of that id and version, or its newest version; None where there is none."""
        named = {item.definition.version: item for item in self.all() if item.definition.id == capsule_id}
        wanted = newest(named) if version is None else version
        return None if wanted is None else named.get(wanted)

    def _refresh(self) -> None:
        stamps = dict(_stamps(self._path))
        for gone in self._stamps.keys() - stamps.keys():
            self._sound.pop(gone, None)
            self._broken.pop(gone, None)
        for path, stamp in stamps.items():
            if self._stamps.get(path) != stamp:
                self._load(path)
        self._stamps = stamps

    def _load(self, path: Path) -> None:
        self._sound.pop(path, None)
        self._broken.pop(path, None)
        try:
            self._sound[path] = read_capsule(path)
        except SomaError as error:
            self._broken[path] = BrokenCapsule(path, error.detail, error.errors)
            shown = "; ".join(f"{fault.path or 'file'}: {fault.detail}" for fault in error.errors[:20])
            _log.error("The capsule file %s is left out. %s %s", path.name, error.detail, shown)


def read_capsule(path: Path) -> FolderCapsule:
    """The capsule of one YAML file.

    Raises:
        SomaError: CAPSULE_INVALID, with every fault.
    """
    document = _read_yaml(path)
    definition = parse_definition(document)
    return FolderCapsule(definition, document, sha256_hex(document), path)


def _read_yaml(path: Path) -> JsonObject:
    try:
        content = path.read_bytes()
        if len(content) > MAX_FILE_BYTES:
            raise _unreadable(path, f"is larger than {MAX_FILE_BYTES:,} bytes")
        document: JsonValue = yaml.load(content, Loader=_Loader)  # noqa: S506  a SafeLoader
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, f"is not YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(document, dict):
        raise _unreadable(path, "holds no object with id, version, summary, type, ...")
    return document


class _Loader(yaml.SafeLoader):
    """YAML as JSON has it: one object a document, no key twice, no anchors that repeat what they name."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not used in capsules; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.YAMLError(f"the key {key.value!r} stands twice, line {key.start_mark.line + 1}")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


# A date without quotes stays the text that was written: JSON has no dates.
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _stamps(folder: Path) -> Iterator[tuple[Path, _Stamp]]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        _log.error("The folder of capsules %s cannot be read: %s", folder, error.strerror)
        return
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        yield path, (found.st_mtime_ns, found.st_size)


def _unreadable(path: Path, why: str) -> SomaError:
    return SomaError(Code.CAPSULE_INVALID, f"The file {path.name} {why}.", errors=(Fault("", "unreadable", why),))
