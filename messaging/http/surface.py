"""Every operation of the API: one line a subject."""

from __future__ import annotations

from messaging.http import (
    account,
    account_targets,
    buckets,
    bulk_subscribe,
    files,
    logs,
    message_changes,
    message_control,
    messages,
    ping,
    provider_care,
    provider_checks,
    providers,
    quarantine,
    sessions,
    sms_preview,
    subscribers,
    suppressions,
    topics,
    user_sessions,
    user_targets,
    users,
)
from messaging.http.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *messages.operations,  # first: the router looks from the top, and these are called most
    *topics.operations,
    *message_changes.operations,
    *message_control.operations,
    *sms_preview.operations,
    *logs.operations,
    *ping.operations,
    *providers.operations,
    *provider_checks.operations,
    *provider_care.operations,
    *quarantine.operations,
    *subscribers.operations,
    *bulk_subscribe.operations,
    *suppressions.operations,
    *users.operations,
    *user_targets.operations,
    *account.operations,
    *sessions.operations,
    *account_targets.operations,
    *user_sessions.operations,
    *buckets.operations,
    *files.operations,
)
