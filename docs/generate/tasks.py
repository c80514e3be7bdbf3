"""The page of Celery tasks, from `messaging/wire.py`, the content classes and `workers/tasks.py`."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping

from docs.generate.markdown import code, codes, document, head, table
from docs.generate.source import functions
from messaging.channel import Channel, Lane, OnUnknown
from messaging.content import argument_names
from messaging.message import Email, Push, Sms
from messaging.wire import PRODUCERS_TASKS, SEND_TASK, Queue, TaskName

_KINDS = {Channel.PUSH: Push, Channel.EMAIL: Email, Channel.SMS: Sms}

COMMON: Mapping[str, tuple[str, str]] = {
    "users": ("list of texts", "Ids of users: everything they have on the channel."),
    "targets": ("list of texts", "Ids of targets."),
    "topics": ("list of texts", "Ids of topics: everybody subscribed with a target of the channel."),
    "addresses": ("list of texts", "Raw addresses of the channel; `emails` and `phones` are other names of it."),
    "cc": ("list of texts", "Email: targets or addresses that get a copy and are shown."),
    "bcc": ("list of texts", "Email: the same, not shown."),
    "scheduled_at": ("time", "When to send it; now if not given. It goes before a task's `eta`."),
    "expires_at": ("time", "After this it is of no use; it goes before a task's `expires`."),
    "on_unknown": (" or ".join(map(code, OnUnknown)), "What to do when a request left and no readable answer came."),
    "lane": (" or ".join(map(code, Lane)), "Follows from the size of the audience if not given."),
    "draft": ("true or false", "Keep it, don't send it."),
    "message_id": ("text", "Id of the message; the task's id if not given."),
    "project": ("text", "Only to be sure: it must be the project of the queue."),
}
"""Type and meaning of what the three sending tasks have in common."""

CONTENT: Mapping[str, str] = {
    "title": "At most 256 characters. A push has at least one of title, body and data.",
    "body": "The text below the title.",
    "data": "For the app: texts by name; what is no text is written as JSON.",
    "action": "What a tap opens (`click_action`, category).",
    "image": "https address of a picture.",
    "icon": "Icon (Android, web).",
    "sound": "Sound file of the app, or `default`.",
    "color": "Colour of the icon (Android).",
    "tag": "Replaces a notification with the same tag (Android, web).",
    "badge": "Number on the app's icon; 0 clears it, -1 or nothing leaves it.",
    "content_available": "Wakes the app in the background (Apple).",
    "critical": "Sounds even when the phone is silent; the app needs Apple's permission.",
    "priority": "`normal` spares the battery.",
    "channel_id": "Notification channel (Android).",
    "collapse_id": "A newer message with the same id replaces the older one; 64 bytes at most.",
    "push_type": "`apns-push-type`; `alert` or `background` by itself.",
    "subject": "At most 998 characters. Required.",
    "content": "The text, at most 64,230 characters. Required.",
    "html": "Whether `content` is HTML; seen from the content if not given.",
    "text": "Plain part beside HTML; made from it if not given.",
    "attachments": 'Files: `{"filename", "content_type", "content"}` with base64, or `{"file_id": "bucket:file"}`;'
    " 25 MB together.",
    "reply_to_email": "Where answers go.",
    "reply_to_name": "Whose answers those are.",
    "headers": "Further headers by name.",
}
"""Meaning of the parts of a content."""

_BEFORE = """\
A producer needs Celery and nothing of ours: `send_task(NAME, queue="messaging", kwargs={…})`, JSON only, everything as
keyword arguments ([how](../howto/send-from-celery.md)). A task with an argument that is wrong becomes a message in the
state `failed` with the reason, and ends no worker.
"""
_CANCEL = """\
`message_id`, and `project` only to be sure. It answers the message's state, or why nothing was cancelled. It is
durable, where Celery's `revoke` reaches only those that listen at that moment.
"""


def page() -> str:
    """The whole page; raises KeyError for an argument whose meaning nobody has written down."""
    return document(
        head("Tasks", "messaging/wire.py, messaging/message.py and workers/tasks.py"),
        _BEFORE,
        *(part for channel in Channel for part in _sending(channel)),
        "## In common\n",
        table(("argument", "type", "meaning"), ((code(name), *said) for name, said in COMMON.items())),
        "Times are ISO 8601; without an offset they are UTC ([what a time means](../explanation/time.md)).\n",
        f"## {TaskName.CANCEL}\n",
        _CANCEL,
        "## Queues\n",
        "Give producers the first two. `messaging.PROJECT` is the intake queue of another project.\n",
        table(("queue", "what it carries"), ((code(queue), _queue(queue)) for queue in Queue)),
        "## Tasks of our own\n",
        "What the system tells itself, and what Flower shows. They carry ids only; sending one by hand does no harm.\n",
        table(("task", "arguments", "what it does"), _own()),
    )


def _sending(channel: Channel) -> list[str]:
    fields = [field for field in dataclasses.fields(_KINDS[channel]) if field.name in argument_names(channel)]
    named = {Channel.PUSH: "a push", Channel.EMAIL: "an email", Channel.SMS: "an SMS"}[channel]
    rows = ((code(field.name), _type(field), CONTENT[field.name]) for field in fields)
    return [
        f"## {SEND_TASK[channel]}\n",
        f"The content of {named}, and what stands [in common](#in-common). It answers the message's id.\n",
        table(("argument", "type", "meaning"), rows),
    ]


def _type(field: dataclasses.Field[object]) -> str:
    said = str(field.type)
    for part, word in (("bool", "true or false"), ("int", "whole number"), ("Mapping", "object"), ("tuple", "list")):
        if part in said:
            return word
    return "`normal` or `high`" if "Literal" in said else "text"


def _queue(queue: Queue) -> str:
    words = {
        Queue.INTAKE: "tasks of producers of the default project",
        Queue.INTAKE_HIGH: "the same, read first: for codes",
        Queue.SWEEP: "the sweep, every second",
        Queue.RECEIPTS: "receipts that wait to be applied",
        Queue.FANOUT: "messages whose audience is to be expanded",
        Queue.FANOUT_HIGH: "the same in the high lane",
    }
    if queue in words:
        return words[queue]
    _, channel, *lane = queue.split(".")
    return f"batches of {channel}, {'high' if lane else 'bulk'} lane"


def _own() -> list[tuple[str, str, str]]:
    found = []
    for function in functions("workers/tasks.py"):
        name = next((_task_name(each) for each in function.decorator_list), None)
        if name is not None and name not in PRODUCERS_TASKS:
            arguments = [each.arg for each in function.args.args if each.arg != "self"]
            found.append((code(name), codes(arguments), (ast.get_docstring(function) or "").partition("\n")[0]))
    missing = set(TaskName) - PRODUCERS_TASKS - {TaskName(name.strip("`")) for name, _, _ in found}
    if missing:
        raise LookupError(f"workers/tasks.py has no task {', '.join(missing)}.")
    return found


def _task_name(decorator: ast.expr) -> TaskName | None:
    if not isinstance(decorator, ast.Call):
        return None
    given = next((each.value for each in decorator.keywords if each.arg == "name"), None)
    return TaskName[given.attr] if isinstance(given, ast.Attribute) and given.attr in TaskName.__members__ else None
