"""git.clone: from another machine over http(s), or from a repository in one of the job's places."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from somagent.adapters.egress import EgressRules, Target
from somagent.adapters.tools.git_command import Git, failed, git_in
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.sandbox import Sandbox
from somagent.adapters.tools.workspace import Place, locate, locate_for_writing, opened_folder, real_path, translate
from somagent.domain.actions.local import GitCloneOutput, GitCloneParams
from somagent.domain.errors import Code, SomaError

_EFFECT_SETTING = "somagent.effect"
_OTHER_PROTOCOL = re.compile(r"[^/]*:")  # scp's host:path, ext::command, C:\path
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.?")
_OPTIONS = ("--quiet", "--no-local", "--no-tags", "--template=", "--no-recurse-submodules")


async def clone(sandbox: Sandbox, rules: EgressRules, params: GitCloneParams, context: ToolContext) -> GitCloneOutput:
    """Clone into a folder that is not there yet. It appears there whole, or not at all.

    A repeated attempt finds the clone that an earlier one finished by the effect's key, and gives it as it is.

    Raises:
        SomaError: EGRESS_REFUSED, PATH_OUTSIDE_WORKSPACE, PARAMS_INVALID, GIT_FAILED (over the network: retryable).
    """
    target = locate_for_writing(context, params.path)
    if not target.parts:
        raise SomaError(Code.PARAMS_INVALID, "A repository is cloned into a folder of its own; give `path` a name.")
    if _is_there(target, params.path):
        return await _finished_earlier(sandbox, context, target, params.path)
    making = Place(context.workspace, (_temporary_name(context.effect_key),), "", writable=True)
    _remove(making)
    git = git_in(sandbox, context, locate(context, "."))
    try:
        await _clone_into(git, rules, params, context, making)
        _move(making, target, params.path)
    finally:
        _remove(making)
    return await _describe(git_in(sandbox, context, target), target)


async def _clone_into(
    git: Git, rules: EgressRules, params: GitCloneParams, context: ToolContext, making: Place
) -> None:
    options = [*_OPTIONS, f"--config={_EFFECT_SETTING}={context.effect_key}"]
    if params.depth is not None:
        options.append(f"--depth={params.depth}")
    if "://" in params.url:
        url, settings = await _checked(rules, params.url)
        git, source = git.reaching(urlsplit(url).scheme, network=True), url
    elif _OTHER_PROTOCOL.match(params.url):
        raise SomaError(Code.EGRESS_REFUSED, "Only https, http and paths of the job are cloned from.")
    else:
        place = locate(context, params.url)
        real_path(place)
        git, source, settings = git.reaching("file", network=False), f"./{place.display}", []
    finished = await git.run("clone", *options, "--end-of-options", source, making.display, settings=settings)
    if finished.exit_code != 0:
        raise failed(finished, retryable=git.network)


async def _checked(rules: EgressRules, url: str) -> tuple[str, list[str]]:
    """The URL put together anew from what was checked, and settings that pin its host to the checked addresses."""
    target = rules.target(url)
    try:
        addresses = await rules.resolve(target.host, target.port)
    except OSError as error:
        raise SomaError(Code.GIT_FAILED, f"{target.host!r} does not resolve: {error.strerror}.") from None
    parts = urlsplit(url)
    host = _host(target)
    query = f"?{parts.query}" if parts.query else ""
    pinned = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
    settings = [
        "http.followRedirects=false",
        "http.proxy=",
        "http.emptyAuth=false",
        f"http.curloptResolve={host}:{target.port}:{pinned}",
        "http.lowSpeedLimit=1",
        "http.lowSpeedTime=60",
    ]
    return f"{target.scheme}://{host}:{target.port}{parts.path}{query}", settings


def _host(target: Target) -> str:
    try:
        address = ip_address(target.host)
    except ValueError:
        host = target.host if target.host.isascii() else target.host.encode("idna").decode()
        if not _HOST.fullmatch(host):
            raise SomaError(Code.PARAMS_INVALID, f"{target.host!r} is no host name.") from None
        return host
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def _temporary_name(effect_key: str) -> str:
    return f".somagent-{hashlib.sha256(effect_key.encode()).hexdigest()[:32]}.tmp"  # a form that listings leave out


def _is_there(target: Place, shown: str) -> bool:
    *folders, name = target.parts
    try:
        with opened_folder(target.root, tuple(folders), shown) as folder:
            os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    except SomaError as error:
        if error.code == Code.FILE_NOT_FOUND:
            return False
        raise
    return True


async def _finished_earlier(sandbox: Sandbox, context: ToolContext, target: Place, shown: str) -> GitCloneOutput:
    git = git_in(sandbox, context, target)
    found = await git.run("config", "--local", "--get", _EFFECT_SETTING)
    if found.stdout.decode(errors="replace").strip() != context.effect_key:
        raise SomaError(Code.PARAMS_INVALID, f"{shown!r} is there already. Give a `path` that is not.")
    return await _describe(git, target)


async def _describe(git: Git, target: Place) -> GitCloneOutput:
    return GitCloneOutput(path=target.display, head=await git.commit_of("HEAD") or "")


def _remove(place: Place) -> None:
    with opened_folder(place.root, (), place.display) as folder:
        shutil.rmtree(place.parts[0], ignore_errors=True, dir_fd=folder)


def _move(making: Place, target: Place, shown: str) -> None:
    *folders, name = target.parts
    with (
        opened_folder(making.root, (), shown) as source,
        opened_folder(target.root, tuple(folders), shown, create=True) as folder,
    ):
        try:
            os.rename(making.parts[0], name, src_dir_fd=source, dst_dir_fd=folder)
        except OSError as error:
            raise translate(error, folder, name, shown) from error
