"""Where answers go: what the consumer of slm.requests needs of the record and of whoever waits."""

from __future__ import annotations

from typing import Protocol

from somagent.domain.slm.messages import SlmRequest, SlmResponse


class AnswerSink(Protocol):
    """The record of answers, and the one who waits for them.

    The consumer calls, for each request: :meth:`stored_answer`, the provider, :meth:`record`, publishes the response,
    :meth:`finish`. It may die between any two; then all of it runs again, so each of them is idempotent on
    ``request_id``. An error raised here that is retryable by its category is waited out, as far as the consumer runs;
    any other fails the delivery, and the queue delivers again or gives up.
    """

    async def stored_answer(self, request: SlmRequest) -> SlmResponse | None:
        """The final answer to this request, if it is recorded: a result, or an error that is not retryable.

        A recorded error that is retryable is no final answer: the step's next attempt asks with the same request_id
        and wants the provider called. A request that nobody waits for any more (its job is cancelled) is best
        answered here by an error, so that no model is called in vain.
        """
        ...

    async def record(self, request: SlmRequest, response: SlmResponse) -> None:
        """Stores the answer durably, with the row of the step that asked, in one transaction."""
        ...

    async def finish(self, request: SlmRequest, response: SlmResponse) -> None:
        """Tells whoever waits; one who is gone is no error."""
        ...
