"""An AnswerSink that keeps answers in Redis, and notes in the list ``story`` what it was asked to do."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.messages import SlmRequest, SlmResponse


class RedisSink:
    """Final answers in the hash ``answers``; the first one recorded stands."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0))

    async def stored_answer(self, request: SlmRequest) -> SlmResponse | None:
        try:
            found = await self._redis.hget("answers", request.request_id)
        except RedisError as error:
            raise SomaError(Code.DATABASE_UNAVAILABLE, "the record is away") from error
        if found is None:
            return None
        response = SlmResponse.model_validate_json(found)
        return None if response.error is not None and response.error.retryable else response

    async def record(self, request: SlmRequest, response: SlmResponse) -> None:
        try:
            async with self._redis.pipeline(transaction=True) as together:
                together.hset("answers", request.request_id, response.to_bytes())
                together.rpush("story", f"recorded {request.request_id}")
                await together.execute()
        except RedisError as error:
            raise SomaError(Code.DATABASE_UNAVAILABLE, "the record is away") from error

    async def finish(self, request: SlmRequest, response: SlmResponse) -> None:
        try:
            await self._redis.rpush("story", f"finished {request.request_id}")
        except RedisError as error:
            raise SomaError(Code.TEMPORAL_UNAVAILABLE, "nobody to tell") from error

    async def close(self) -> None:
        await self._redis.aclose()
