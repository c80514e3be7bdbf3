"""What Celery's consumer does with a message that we can't have, changed where it happens.

Celery (5.7, worker/consumer and worker/strategy.py) holds a task with an `eta` in memory and throws one away that
`expires`; a body or a header that is no task's ends the worker, is restored, and ends the next one; what it can't read
it logs, body and all. `workers.admission` decides about each message first, and Celery is handed what it makes of it.

It also tells of each event of a task at once, in a message of its own, before the task is handed to its process. Here
what is told within half a second goes out together, while nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from workers.admission import Admission, Came

_TELL_AFTER_S = 0.5
_TOLD_AT_ONCE = 300
"""Events in one message at most; Celery's own limit is 24."""


class Consumer(CeleryConsumer):
    """Celery's, for tasks that were admitted."""

    # Celery's own, which its types don't tell
    hub: Any
    timer: Any
    event_dispatcher: Any = None
    _flush_events: Callable[[], None]
    _telling: Any = None

    def on_send_event_buffered(self) -> Any:  # noqa: ANN401  (as above)
        """Tell of what happened a moment later, together with what happens until then."""
        if self.hub and self._telling is None:
            if self.event_dispatcher is not None:
                self.event_dispatcher.buffer_limit = _TOLD_AT_ONCE
            self._telling = self.hub.call_later(_TELL_AFTER_S, self._tell)
        return self._telling

    def _tell(self) -> None:
        self._telling = None
        self._flush_events()

    def on_close(self) -> None:
        """Forget what the connection that is gone was used for, its timers too; what was to be told is told later."""
        super().on_close()
        self._telling = None

    def shutdown(self) -> None:
        """End, having told of what is left to tell."""
        if self._telling is not None:
            self._tell()
        super().shutdown()

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
