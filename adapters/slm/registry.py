"""Which provider answers what, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass

from somagent.adapters.settings import Settings
from somagent.adapters.slm.builtin import BuiltinProvider
from somagent.adapters.slm.openai_compatible import OpenAICompatibleProvider
from somagent.adapters.slm.port import Provider
from somagent.domain.slm.messages import SlmRequest


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers of a process: one for completions, one for embeddings (often the same)."""

    completion: Provider
    embedding: Provider

    def provider_for(self, request: SlmRequest) -> Provider:
        """Who answers this request."""
        return self.embedding if request.kind == "embed" else self.completion

    async def close(self) -> None:
        """Closes each provider once."""
        for provider in {id(provider): provider for provider in (self.completion, self.embedding)}.values():
            await provider.close()


def providers_from(settings: Settings) -> Providers:
    """The OpenAI-compatible server where SLM_BASE_URL is set, else the built-in provider.

    Embeddings come from the server only where SLM_EMBEDDING_MODEL names its model, so that setting up a chat model
    does not change the dimension of what is remembered.
    """
    builtin = BuiltinProvider()
    if not settings.slm_base_url:
        return Providers(builtin, builtin)
    server = OpenAICompatibleProvider(
        base_url=settings.slm_base_url,
        api_key=settings.slm_api_key.get_secret_value(),
        model=settings.slm_model,
        embedding_model=settings.slm_embedding_model,
        timeout_seconds=settings.slm_timeout_seconds,
    )
    return Providers(server, server if settings.slm_embedding_model else builtin)
