"""Every action there is. A new one is added here, and implemented by the adapter of its name."""

from __future__ import annotations

from somagent.domain.actions import local, remote
from somagent.domain.actions.spec import ActionSpec, Delivery, Weight

_SPECS = (
    ActionSpec("files.write", local.FilesWriteParams, local.FilesWriteOutput, Weight.LIGHT,
               "Writes a text file in the job's folder", effect=True),
    ActionSpec("files.read", local.FilesReadParams, local.FilesReadOutput, Weight.LIGHT, "Reads a text file"),
    ActionSpec("files.list", local.FilesListParams, local.FilesListOutput, Weight.LIGHT, "Lists a folder's files"),
    ActionSpec("files.read_all", local.FilesReadAllParams, local.FilesReadAllOutput, Weight.LIGHT,
               "Reads every text file of a folder", worst_case_seconds=0.5),
    ActionSpec("text.template", local.TextTemplateParams, local.TextOutput, Weight.LIGHT, "Fills a template",
               worst_case_seconds=0.02),
    ActionSpec("text.split", local.TextSplitParams, local.TextSplitOutput, Weight.LIGHT, "Splits a text",
               worst_case_seconds=0.02),
    ActionSpec("text.join", local.TextJoinParams, local.TextOutput, Weight.LIGHT, "Joins parts into a text",
               worst_case_seconds=0.02),
    ActionSpec("http.request", remote.HttpRequestParams, remote.HttpRequestOutput, Weight.HEAVY,
               "Asks a web address", effect=True, outbound=True, risk=0.3, review_warning=True),
    ActionSpec("shell.execute", local.ShellExecuteParams, local.ShellExecuteOutput, Weight.SANDBOXED,
               "Runs a program in a sandbox", effect=True, risk=0.3, delivery=Delivery.AT_LEAST_ONCE,
               default_timeout_seconds=120, review_warning=True),
    ActionSpec("git.log", local.GitLogParams, local.GitLogOutput, Weight.SANDBOXED, "Reads a repository's history",
               review_warning=True),
    ActionSpec("git.diff", local.GitDiffParams, local.GitDiffOutput, Weight.SANDBOXED, "Compares two states",
               review_warning=True),
    ActionSpec("git.commit", local.GitCommitParams, local.GitCommitOutput, Weight.SANDBOXED, "Commits all changes",
               effect=True, review_warning=True),
    ActionSpec("git.init", local.GitInitParams, local.GitInitOutput, Weight.SANDBOXED, "Makes a repository",
               effect=True, review_warning=True),
    ActionSpec("git.clone", local.GitCloneParams, local.GitCloneOutput, Weight.SANDBOXED, "Clones a repository",
               effect=True, outbound=True, risk=0.2, default_timeout_seconds=600, review_warning=True),
    ActionSpec("postgres.query", remote.PostgresQueryParams, remote.PostgresQueryOutput, Weight.HEAVY,
               "Reads from a configured database", risk=0.2),
    ActionSpec("memory.remember", remote.RememberParams, remote.RememberOutput, Weight.LIGHT, "Remembers an item",
               effect=True, worst_case_seconds=0.2, compensated=True),
    ActionSpec("memory.remember_all", remote.RememberAllParams, remote.RememberAllOutput, Weight.LIGHT,
               "Remembers documents in pieces", effect=True, worst_case_seconds=5.0, compensated=True),
    ActionSpec("memory.recall", remote.RecallParams, remote.RecallOutput, Weight.LIGHT, "Finds remembered items",
               worst_case_seconds=0.2),
    ActionSpec("memory.retrieve", remote.RetrieveParams, remote.RetrieveOutput, Weight.LIGHT,
               "Answers from memory with citations", worst_case_seconds=0.3),
    ActionSpec("slm.complete", remote.SlmCompleteParams, remote.SlmCompleteOutput, Weight.SLM, "Asks a language model",
               effect=True, default_timeout_seconds=600),
    ActionSpec("slm.embed", remote.SlmEmbedParams, remote.SlmEmbedOutput, Weight.SLM, "Embeds texts", effect=True,
               default_timeout_seconds=600),
    ActionSpec("policy.evaluate", remote.PolicyEvaluateParams, remote.PolicyEvaluateOutput, Weight.LIGHT,
               "Asks the policy engine"),
    ActionSpec("analytics.analyse_budget", remote.AnalyseBudgetParams, remote.AnalyseBudgetOutput, Weight.LIGHT,
               "Compares a run's spending with its budget"),
    ActionSpec("human.approve", remote.HumanApproveParams, remote.ApprovalOutput, Weight.WAIT, "Waits for people",
               effect=False),
    ActionSpec("notifications.request_approval", remote.RequestApprovalParams, remote.ApprovalOutput, Weight.WAIT,
               "Asks people through a channel, and waits"),
    ActionSpec("notifications.send", remote.NotificationSendParams, remote.NotificationSendOutput, Weight.LIGHT,
               "Sends a notification", effect=True),
    ActionSpec("capsule.run", remote.CapsuleRunParams, remote.CapsuleRunOutput, Weight.CHILD, "Runs another capsule",
               effect=True, open_output=True),
)  # fmt: skip

ACTIONS: dict[str, ActionSpec] = {spec.name: spec for spec in _SPECS}
ADAPTERS: frozenset[str] = frozenset(spec.adapter for spec in _SPECS)


def action(name: str) -> ActionSpec:
    """The action called ``name``.

    Raises:
        KeyError: there is none; capsule validation has seen to that before anything runs.
    """
    return ACTIONS[name]
