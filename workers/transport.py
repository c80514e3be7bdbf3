"""What Celery's consumer does with a message that we can't have, changed where it happens.

Celery (5.7, worker/consumer and worker/strategy.py) holds a task with an `eta` in memory and throws one away that
`expires`; a body or a header that is no task's ends the worker, is restored, and ends the next one; what it can't read
it logs, body and all. `workers.admission` decides about each message first, and Celery is handed what it makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from workers.admission import Admission, Came


class Consumer(CeleryConsumer):
    """Celery's, for tasks that were admitted."""

    def create_task_handler(self, *arguments: Any, **more: Any) -> Callable[[Any], Any]:  # noqa: ANN401  Celery has no types here
        """What is called with each message."""
        handle = super().create_task_handler(*arguments, **more)
        app: Any = self.app  # workers.app.App
        admission: Admission = app.admission

        def on_task_received(message: Any) -> Any:  # noqa: ANN401
            task = admission.admit(
                Came(
                    body=message.body,
                    content_type=None if message.errors else message.content_type,
                    content_encoding=message.content_encoding,
                    headers=message.headers,
                    tag=str(message.delivery_tag),
                    correlation_id=(message.properties or {}).get("correlation_id"),
                    queue=str((message.delivery_info or {}).get("routing_key") or ""),
                )
            )
            message.headers = task.headers
            if task.body is not None:
                message.body, message.content_type, message.content_encoding = task.body, "application/json", "utf-8"
                message.errors = []
            message._decoded_cache = None  # noqa: SLF001  what `payload` would answer again
            return handle(message)

        return on_task_received
