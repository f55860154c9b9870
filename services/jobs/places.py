"""Where a job's files lie: its own folder, its attachments, and the folders the operator shares."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from somagent.adapters.settings import Settings
from somagent.adapters.tools.port import ToolContext
from somagent.domain.errors import Code, SomaError
from somagent.services.jobs.store import JobState

_SHARE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Places:
    """Folders on a disk that every worker of the deployment sees."""

    def __init__(self, settings: Settings) -> None:
        self._workspaces = settings.workspaces
        self._attachments = settings.attachments
        self._shares = shares_from(settings.shares)
        self._known: set[str] = set()

    @property
    def shares(self) -> Mapping[str, Path]:
        """The operator's shared folders, by name."""
        return self._shares

    def workspace(self, tenant_id: str, job_id: str) -> Path:
        """The job's own folder."""
        return self._workspaces / tenant_id / job_id

    def context(self, job: JobState, step_id: str, timeout_seconds: float, **extra: Any) -> ToolContext:
        """What a tool is given for one step; the job's folder exists afterwards.

        Raises:
            SomaError: ``disk_full``.
        """
        workspace = self.workspace(job.tenant_id, job.job_id)
        if job.job_id not in self._known:
            try:
                workspace.mkdir(parents=True, exist_ok=True, mode=0o755)
            except OSError as error:
                raise SomaError(Code.DISK_FULL, f"The job's folder cannot be made: {error.strerror}.") from error
            if len(self._known) > 10_000:
                self._known.clear()
            self._known.add(job.job_id)
        return ToolContext(
            tenant_id=job.tenant_id,
            job_id=job.job_id,
            step_id=step_id,
            effect_key=f"{job.job_id}:{step_id}",
            workspace=workspace,
            shares=self._shares,
            attachments=self._attached(job),
            timeout_seconds=timeout_seconds,
            **extra,
        )

    def _attached(self, job: JobState) -> Path | None:
        """The job's attachments in one folder, made from the uploads at the first look."""
        if not job.attachments:
            return None
        folder = self._workspaces / job.tenant_id / f"{job.job_id}.attachments"
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f"{job.job_id}.", dir=folder.parent))
            for attachment_id in job.attachments:
                for source in sorted((self._attachments / job.tenant_id / attachment_id).iterdir()):
                    target = partial / source.name
                    if target.exists():
                        target = partial / f"{attachment_id[:8]}-{source.name}"
                    shutil.copyfile(source, target)
            try:
                partial.rename(folder)
            except OSError:  # another worker was quicker
                shutil.rmtree(partial, ignore_errors=True)
        return folder


def shares_from(text: str) -> dict[str, Path]:
    """The JSON object of SOMAGENT_SHARES as folders.

    Raises:
        ValueError: it is not an object of absolute folders.
    """
    if not text:
        return {}
    try:
        shares = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"SOMAGENT_SHARES is not JSON: {error}") from error
    if not isinstance(shares, dict) or not all(isinstance(p, str) and Path(p).is_absolute() for p in shares.values()):
        raise ValueError("SOMAGENT_SHARES must be a JSON object {name: absolute folder}")
    unusable = [name for name in shares if not _SHARE_NAME.fullmatch(name)]
    if unusable:
        raise ValueError(f"SOMAGENT_SHARES: a share's name has letters, digits, '.', '_' and '-': {unusable[0]!r}")
    return {name: Path(path) for name, path in shares.items()}
