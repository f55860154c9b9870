"""Reading a multipart form with one file, straight to where it belongs and never as a whole in memory."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from somagent.domain.errors import Code, Fault, SomaError
from somagent.services.attachments import Incoming, safe_name

if TYPE_CHECKING:  # the library has this name for checkers only
    from python_multipart.multipart import MultipartCallbacks

FILE_FIELD: Final = "file"
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}\Z")


async def receive_file(request: Request, incoming: Incoming) -> None:
    """Fill ``incoming`` from the form's field ``file``.

    Raises:
        SomaError: ``validation_failed`` when the form is not one file in that field, ``malformed_body`` when it is no
            form at all, ``body_too_large``, ``disk_full``.
    """
    parts = _Parts(incoming)
    parser = MultipartParser(_boundary(request), parts.callbacks())
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            for data in parts.drain():
                await incoming.write(data)
        parser.finalize()
    except FormParserError as error:
        raise _malformed() from error
    if not parts.ended:
        raise _malformed()
    if parts.files != 1:
        raise _fault(FILE_FIELD, "missing", "The form has no file in the field `file`.")


class _Parts:
    """What the parser tells: the headers of each part, and the file's bytes in order."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._pieces: deque[bytes] = deque()
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self.files = 0
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        """The parser's events that matter."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._opened,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def drain(self) -> list[bytes]:
        """The bytes that came since the last call."""
        pieces = list(self._pieces)
        self._pieces.clear()
        return pieces

    def _begin(self) -> None:
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _opened(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"").decode(errors="replace")
        if field != FILE_FIELD:
            raise _fault(field[:100], "extra_forbidden", "Only the field `file` is known here.")
        if self.files:
            raise _fault(FILE_FIELD, "too_many", "One request takes one file.")
        if b"filename" not in options:
            raise _fault(FILE_FIELD, "not_a_file", "The field `file` must be a file with a name.")
        self.files += 1
        self._incoming.name = safe_name(options[b"filename"].decode(errors="replace"))
        media_type = self._headers.get(b"content-type", b"").partition(b";")[0].strip().decode("latin-1")
        if _MEDIA_TYPE.match(media_type):
            self._incoming.media_type = media_type.lower()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self.ended = True


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if media_type != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
        raise _fault("", "media_type", "Send multipart/form-data with the file in the field `file`.")
    return boundary


def _malformed() -> SomaError:
    return SomaError(Code.MALFORMED_BODY, "The body is not a whole multipart form.")


def _fault(path: str, code: str, detail: str) -> SomaError:
    return SomaError(Code.VALIDATION_FAILED, detail, errors=[Fault(path, code, detail)])
