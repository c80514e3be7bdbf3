"""Checks of an account over HTTP: asked for, done by a worker, and looked at until they have ended."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from messaging.address import LONGEST_TOKEN
from messaging.http import parameters as p
from messaging.http.json_text import optional_timestamp, timestamp
from messaging.http.list_parameters import TOTAL
from messaging.http.operations import Call, Operations
from messaging.http.queries import parse_queries
from messaging.store import provider_checks, providers
from messaging.store.check_steps import Step
from messaging.store.provider_checks import CheckView

operations = Operations("messaging")

_PROVIDER = p.uid("providerId", required=True)
_PATH = "/messaging/providers/{providerId}/checks"


@operations.add(
    "POST",
    _PATH,
    _PROVIDER,
    p.text("sendTo", longest=LONGEST_TOKEN, help="Where a real test message goes; without it none is sent."),
    scopes=("providers.write",),
    status=HTTPStatus.ACCEPTED,
    model="providerCheck",
)
def check_provider(call: Call) -> dict[str, Any]:
    """Ask a provider whether it takes the account, and send a real message through it where `sendTo` says to whom.

    A worker does it. Look at the check until `outcome` is there: a few seconds, or up to a minute and a half where a
    receipt is waited for. Nobody else carries the message, and a stopped or disabled account sends none.
    """
    check_id, hint = provider_checks.begin(call.connection, call.project_id, call["providerId"], send_to=call["sendTo"])
    call.hints.append(hint)
    return rendered(provider_checks.get(call.connection, call.project_id, call["providerId"], check_id))


@operations.add(
    "GET",
    f"{_PATH}/{{checkId}}",
    _PROVIDER,
    p.uid("checkId", required=True),
    scopes=("providers.read",),
    model="providerCheck",
)
def get_provider_check(call: Call) -> dict[str, Any]:
    """A check, as far as it has come."""
    return rendered(provider_checks.get(call.connection, call.project_id, call["providerId"], call["checkId"]))


@operations.add("GET", _PATH, _PROVIDER, TOTAL, scopes=("providers.read",), model="providerCheckList", listed=True)
def list_provider_checks(call: Call) -> dict[str, Any]:
    """The checks of a provider, newest first."""
    providers.find(call.connection, call.project_id, call["providerId"])
    wanted = parse_queries(call.queries, total=call["total"])
    found = provider_checks.listed(call.connection, call.project_id, call["providerId"], wanted)
    return {"total": found.total, "checks": [rendered(check) for check in found.checks]}


def rendered(check: CheckView) -> dict[str, Any]:
    """A check as it goes over the wire."""
    return {
        "$id": check.id,
        "$createdAt": timestamp(check.created_at),
        "$updatedAt": timestamp(check.updated_at),
        "providerId": check.provider_id,
        "sendTo": check.send_to,
        "messageId": check.message_id,
        "outcome": None if check.outcome is None else str(check.outcome),
        "steps": [_rendered_step(step) for step in check.steps],
    }


def _rendered_step(step: Step) -> dict[str, Any]:
    return {
        "name": str(step.name),
        "state": str(step.state),
        "detail": step.detail,
        "at": optional_timestamp(step.at),
        "tookMs": step.took_ms,
    }
