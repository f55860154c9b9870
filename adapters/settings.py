"""Everything the environment can say, read once by each process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from somagent.domain.modes import DeploymentMode, LogLevel


class Settings(BaseSettings):
    """Typed settings. Addresses carry the names that the parts' own users know; the rest begins with SOMAGENT_.

    ``somagent up`` fills in what it starts itself and hands the whole environment to its children.
    """

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, secrets_dir=None)

    data_dir: Path = Field(default=Path(".somagent"), alias="SOMAGENT_DATA_DIR")
    capsules_dir: Path = Field(default=Path(__file__).parent.parent / "capsules", alias="SOMAGENT_CAPSULES_DIR")

    keys_dir: Path | None = Field(default=None, alias="SOMAGENT_KEYS_DIR")
    """Where signing keys lie when not in the data dir: a mounted secret, the same for every process."""

    postgres_url: SecretStr = Field(default=SecretStr(""), alias="POSTGRES_URL")
    """The owner's address: migrations and role set-up only."""
    postgres_app_url: SecretStr = Field(default=SecretStr(""), alias="SOMAGENT_POSTGRES_APP_URL")
    """Role soma_app: bound to one tenant at a time by row-level security."""
    postgres_system_url: SecretStr = Field(default=SecretStr(""), alias="SOMAGENT_POSTGRES_SYSTEM_URL")
    """Role soma_system: relay and reconciliation, across tenants."""
    postgres_pool_size: int = Field(default=10, ge=1, alias="SOMAGENT_POSTGRES_POOL_SIZE")

    redis_url: SecretStr = Field(default=SecretStr(""), alias="REDIS_URL")
    kafka_bootstrap_servers: str = Field(default="", alias="KAFKA_BOOTSTRAP_SERVERS")

    temporal_address: str = Field(default="127.0.0.1:7233", alias="TEMPORAL_ADDRESS")
    temporal_namespace: str = Field(default="default", alias="TEMPORAL_NAMESPACE")
    temporal_ui_url: str = Field(default="", alias="TEMPORAL_UI_URL")
    temporal_retention_days: int = Field(default=0, ge=0, le=3650, alias="SOMAGENT_TEMPORAL_RETENTION_DAYS")
    """How long closed workflows stay in Temporal at least; 0 leaves the namespace as it is."""
    build_id: str = Field(default="", alias="SOMAGENT_BUILD_ID")

    host: str = Field(default="127.0.0.1", alias="SOMAGENT_HOST")
    port: int = Field(default=8080, ge=1, le=65535, alias="SOMAGENT_PORT")
    chosen_log_level: LogLevel | None = Field(default=None, alias="SOMAGENT_LOG_LEVEL")
    worker_port: int = Field(default=0, ge=0, le=65535, alias="SOMAGENT_WORKER_PORT")

    deployment_mode: DeploymentMode = Field(default=DeploymentMode.DEVELOPER_LIGHT, alias="SOMAGENT_DEPLOYMENT_MODE")
    """In force for every tenant that has chosen no mode of its own."""

    allow_moderation_bypass: bool = Field(default=False, alias="SOMAGENT_ALLOW_MODERATION_BYPASS")
    """Whether a token that names moderation:bypass is heeded."""

    region: str = Field(default="", max_length=64, alias="SOMAGENT_REGION")
    """Where this deployment is, in the words of tenants' and capsules' residency. They refuse one that does not say."""

    worker_tuning: Literal["fixed", "resource"] = Field(default="fixed", alias="SOMAGENT_WORKER_TUNING")
    """How many tasks a worker takes at once: a fixed number, or as many as memory (80 %) and CPU (90 %) bear."""

    slm_base_url: str = Field(default="", alias="SLM_BASE_URL")
    slm_api_key: SecretStr = Field(default=SecretStr(""), alias="SLM_API_KEY")
    slm_model: str = Field(default="", alias="SLM_MODEL")
    slm_embedding_model: str = Field(default="", alias="SLM_EMBEDDING_MODEL")
    slm_timeout_seconds: float = Field(default=120.0, gt=0, alias="SLM_TIMEOUT_SECONDS")

    egress_allow: str = Field(default="", alias="SOMAGENT_EGRESS_ALLOW")
    """Comma-separated hosts, host:port or networks that http and git may reach although they are not public."""
    rate_limits: str = Field(default="", alias="SOMAGENT_RATE_LIMITS")
    """JSON object {adapter: times a minute and tenant} for adapters that leave the machine; 30 where not given."""
    shares: str = Field(default="", alias="SOMAGENT_SHARES")
    """JSON object {name: absolute folder}: folders that jobs may read under shared/NAME/."""
    sql_connections: SecretStr = Field(default=SecretStr(""), alias="SOMAGENT_SQL_CONNECTIONS")
    """JSON object {name: postgresql://...}: what postgres.query may use."""
    webhooks: SecretStr = Field(default=SecretStr(""), alias="SOMAGENT_WEBHOOKS")
    """JSON object {channel: url}: webhook channels of notifications."""

    oidc_issuer: str = Field(default="", alias="SOMAGENT_OIDC_ISSUER")
    """An OpenID Connect provider that people may log in with, as it names itself."""
    oidc_client_id: str = Field(default="", alias="SOMAGENT_OIDC_CLIENT_ID")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), alias="SOMAGENT_OIDC_CLIENT_SECRET")
    """Empty: a public client, held by PKCE alone."""
    oidc_redirect_url: str = Field(default="", alias="SOMAGENT_OIDC_REDIRECT_URL")
    """Our own address as browsers see it, ending in /v1/login/oidc/callback; registered with the provider."""
    oidc_tenant: str = Field(default="default", alias="SOMAGENT_OIDC_TENANT")
    """Whose users they become."""
    oidc_capabilities: str = Field(default="", alias="SOMAGENT_OIDC_CAPABILITIES")
    """Comma-separated: what who comes the first time holds, until an administrator changes it."""

    @property
    def log_level(self) -> LogLevel:
        """From which level up the process logs; as the deployment's mode has it where none was given."""
        return self.chosen_log_level or self.deployment_mode.log_level

    @property
    def workspaces(self) -> Path:
        """Where jobs have their folders: ``<tenant>/<job id>/``."""
        return self.data_dir.absolute() / "workspaces"

    @property
    def attachments(self) -> Path:
        """Where attachments lie, by tenant and id."""
        return self.data_dir.absolute() / "attachments"

    @property
    def keys(self) -> Path:
        """Where signing keys lie, mode 0700."""
        return self.keys_dir or self.data_dir.absolute() / "keys"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The settings of this process."""
    return Settings()
