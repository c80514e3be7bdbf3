"""What Flower's pages say of our tasks: batches and messages by name, and links to the console.

Flower's templates stay its own. A few lines are put into them where they are read; a release in which the place is
gone is shown without.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from flower.views.broker import BrokerView
from tornado.ioloop import IOLoop
from tornado.template import Loader, Template

from messaging.doctor import rabbitmq
from messaging.wire import SEND_TASK, TaskName

_log = logging.getLogger(__name__)

COLUMNS = "name,args,state,result,received,runtime,worker,uuid"
"""Of the table of tasks, unless FLOWER_TASKS_COLUMNS says otherwise."""

_BATCH = re.compile(r"\(?(?:batch )?(\d{6}-(\d{1,19})),?\)?", re.ASCII)
_ROW = re.compile(r"\(?(?:message )?(\d{1,19}),?\)?", re.ASCII)
_FANOUTS = ("fan-out", str(TaskName.FANOUT))
_SENDS = frozenset(map(str, SEND_TASK.values()))
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}", re.ASCII)

_LINK = """
{% if handler.application.console %}
<ul class="app-nav navbar-nav">
  <li class="nav-item"><a class="nav-link" href="{{ handler.application.console }}">Console</a></li>
</ul>
{% end %}
"""
_ROW_OF_TASK = """
{% set console_page = handler.application.console_page(task) %}
{% if console_page %}
<div class="detail-row task-data-row">
  <dt>Console</dt>
  <dd><a href="{{ console_page }}">Open in the console</a></dd>
</div>
{% end %}
"""
_ADDED: Mapping[str, tuple[str, str]] = {
    "navbar.html": ('<ul class="app-nav app-nav-secondary', _LINK),
    "task.html": ('<div class="detail-row detail-row-code', _ROW_OF_TASK),
}
"""By template: before the first of what, and what."""


class Pages(Loader):
    """Flower's templates, with what we add."""

    def _create_template(self, name: str) -> Template:
        text = Path(self.root, name).read_text(encoding="utf-8")
        if name in _ADDED:
            place, ours = _ADDED[name]
            if place not in text:
                _log.warning("Flower's page %s has changed: it is shown without a link to the console.", name)
            text = text.replace(place, ours + place, 1)
        return Template(text, name=name, loader=self)


def page_of(
    console: str | None, name: str | None, args: str | None, *, task_id: str = "", project: str = "default"
) -> str | None:
    """The page of the console that shows what a task is about; None where there is none.

    A producer's task says nothing of its project, which its queue decides: that of most producers is assumed.
    """
    if console is None:
        return None
    said, arguments = name or "", args or ""
    if (batch := _BATCH.fullmatch(arguments)) is not None:
        return f"{console}/batches/{batch[2]}"
    if said.startswith(_FANOUTS) and (row := _ROW.fullmatch(arguments)) is not None:
        return f"{console}/go/{row[1]}"
    if said in _SENDS and _ID.fullmatch(task_id):  # a task's id is its message's
        return f"{console}/p/{quote(project)}/messages/{quote(task_id)}"
    return None


def in_words(task: Any) -> Any:  # noqa: ANN401  Celery's, without types
    """A task with its arguments as an operator reads them: `batch 202611-17`, `message 12`."""
    arguments = str(task.args or "")
    if (batch := _BATCH.fullmatch(arguments)) is not None:
        task.args = f"batch {batch[1]}"
    elif str(task.name or "").startswith(_FANOUTS) and (row := _ROW.fullmatch(arguments)) is not None:
        task.args = f"message {row[1]}"
    elif arguments == "()":
        task.args = ""
    return task


def without_password(url: str) -> str:
    """The address of a broker, fit to be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"***@{host}" if "@" in parts.netloc else host).geturl()


class OurBroker(BrokerView):  # type: ignore[misc]  # Flower ships no types
    """The page of queues: ours, whoever reads them, over RabbitMQ without its management plugin, too."""

    def get_active_queue_names(self) -> list[str]:
        """Those we consume, and what else workers read."""
        ours = {queue.name for queue in self.capp.conf.task_queues or ()}
        return sorted(ours | set(super().get_active_queue_names()))

    def get_broker(self) -> Any:  # noqa: ANN401  has `queues(names)`, as Flower's own
        """Who tells of the queues."""
        app = self.application
        if app.transport == "amqp" and not app.options.broker_api:
            return _OverAmqp(app.broker_uri_with_password, app.broker_authority)
        return super().get_broker()


class _OverAmqp:
    """Asks RabbitMQ in the protocol of its tasks."""

    def __init__(self, url: str, authority: Path | None) -> None:
        self._url, self._authority = url, authority

    async def queues(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Length and readers of each."""
        found = await IOLoop.current().run_in_executor(None, self._ask, names)
        return [{"name": each.name, "messages_ready": each.waiting, "consumers": each.consumers} for each in found]

    def _ask(self, names: Sequence[str]) -> list[rabbitmq.QueueState]:
        with rabbitmq.connected(self._url, self._authority) as connection:
            return rabbitmq.queue_states(connection, names)
