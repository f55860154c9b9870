"""What a model server's failures mean to us."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2
import openai

from somagent.domain.errors import Code, SomaError

MAX_ANSWER_BYTES: Final = 10 * 1024 * 1024
_LONGEST_QUOTE: Final = 300
_LONGEST_WAIT: Final = 86_400.0


class AnswerTooLarge(Exception):
    """The server sent more than :data:`MAX_ANSWER_BYTES`; reading stopped there."""


def error_from(error: Exception, server: str, timeout_seconds: float) -> SomaError:
    """The error to raise for what the client library raised.

    Args:
        error: from openai, httpx or asyncio.
        server: the address asked, without credentials, for the message.
        timeout_seconds: the limit that applied, for the message.
    """
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, server)
    if _caused_by(error, AnswerTooLarge):
        detail = f"The model server {server} sent more than {MAX_ANSWER_BYTES // 2**20} MiB; the rest was not read. "
        return SomaError(Code.RESPONSE_TOO_LARGE, detail + "Ask for fewer tokens.")
    if isinstance(error, TimeoutError | openai.APITimeoutError) or _caused_by(error, httpx2.TimeoutException):
        detail = f"The model server {server} gave no whole answer in {timeout_seconds:g} s. "
        return SomaError(Code.SLM_TIMED_OUT, detail + "Ask for fewer tokens, or raise SLM_TIMEOUT_SECONDS.")
    if _caused_by(error, httpx2.ConnectError):
        detail = f"The model server {server} cannot be reached. Start it, or correct SLM_BASE_URL."
        return SomaError(Code.SLM_UNAVAILABLE, detail)
    if _caused_by(error, httpx2.HTTPError) or isinstance(error, openai.APIConnectionError):
        detail = f"The model server {server} broke off in the middle of its answer. Try again."
        return SomaError(Code.SLM_UNAVAILABLE, detail)
    return SomaError(Code.SLM_FAILED, f"The model server {server} sent what is no answer ({type(error).__name__}).")


def _from_status(error: openai.APIStatusError, server: str) -> SomaError:
    status, said = error.status_code, _quoted(error)
    wait = retry_after_seconds(error.response.headers)
    if status == 429:
        detail = f"The model server {server} is over its rate limit (429): {said}"
        return SomaError(Code.RATE_LIMITED, detail, retry_after=wait)
    if status >= 500 or status in (408, 409, 425):
        return SomaError(Code.SLM_UNAVAILABLE, f"The model server {server} failed ({status}): {said}", retry_after=wait)
    if status in (401, 403):
        detail = f"The model server {server} refuses SLM_API_KEY ({status}): {said}"
        return SomaError(Code.ADAPTER_NOT_CONFIGURED, detail)
    if status == 404:
        detail = f"The model server {server} has no such model or path (404): {said} Correct SLM_MODEL or SLM_BASE_URL."
        return SomaError(Code.ADAPTER_NOT_CONFIGURED, detail)
    if "context_length" in said or "context length" in said or "maximum context" in said or status == 413:
        detail = f"The prompt is longer than the model's window: {said} Shorten it, or split it."
        return SomaError(Code.PROMPT_TOO_LONG, detail)
    return SomaError(Code.SLM_FAILED, f"The model server {server} refused ({status}): {said}", retryable=False)


def retry_after_seconds(headers: httpx2.Headers) -> float | None:
    """The wait that Retry-After asks for, as seconds or as a date; at most a day; None where it asks for none."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(0.0, seconds), _LONGEST_WAIT) if math.isfinite(seconds) else None


def _quoted(error: openai.APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    text = message if isinstance(message, str) else error.response.text
    squeezed = " ".join(text.split())
    return squeezed[:_LONGEST_QUOTE] or "no reason given"


def _caused_by(error: BaseException | None, kind: type[Exception]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
