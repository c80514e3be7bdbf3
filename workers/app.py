"""The Celery application of the workers: `celery -A workers.app worker …`."""

from __future__ import annotations

import logging
import sys

from celery import Celery
from celery.signals import worker_process_init, worker_ready, worker_shutting_down

from messaging.interpreter import collect_seldom
from messaging.publish import broker_settings
from messaging.settings import Settings
from messaging.wire import Queue, TaskName

settings = Settings.load()

_SWITCH_S = 0.001

app = Celery("messaging", include=["workers.tasks"])
logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes every address it calls, query and all
app.conf.update(broker_settings(settings))
app.conf.update(
    result_backend=None if settings.result_backend_url is None else settings.result_backend_url.get_secret_value(),
    task_ignore_result=settings.result_backend_url is None,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=2,
    worker_eta_task_limit=1000,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # raising the count again asks RabbitMQ, in the thread where a task ended (celery 5.7, worker/consumer/consumer.py):
    # in a pool of threads it reads the socket beside the event loop, and both wait for ever
    worker_enable_prefetch_count_reduction=False,
    worker_soft_shutdown_timeout=20,
    worker_enable_soft_shutdown_on_idle=True,
    worker_max_tasks_per_child=20_000,
    worker_max_memory_per_child=400_000,
    worker_disable_rate_limits=True,
    worker_send_task_events=True,  # one task is up to a thousand deliveries: two events for it cost nothing
    worker_proc_alive_timeout=30,
    worker_hijack_root_logger=True,
    task_routes={
        TaskName.SWEEP: {"queue": Queue.SWEEP},
        TaskName.HOUSEKEEPING: {"queue": Queue.SWEEP},
        TaskName.RECEIPTS: {"queue": Queue.RECEIPTS},
        TaskName.CANCEL: {"queue": Queue.INTAKE_HIGH},
    },
    beat_schedule={
        "sweep": {
            "task": TaskName.SWEEP,
            "schedule": settings.sweep_every_s,
            # sweeps that piled up while no worker ran would do the same work again
            "options": {"expires": max(10.0, settings.sweep_every_s * 5), "ignore_result": True},
        },
        "housekeeping": {"task": TaskName.HOUSEKEEPING, "schedule": 6 * 3600.0},
    },
    beat_schedule_filename=str(settings.beat_file or "celerybeat-schedule"),
)
if settings.broker_url.get_secret_value().startswith("redis"):
    app.conf.broker_transport = "workers.transport:Transport"


def _settle() -> None:
    """Collect garbage seldom, and let threads hand over after a fifth of the usual time.

    So that a claim or a record, a handful of round trips, does not wait 5 ms at each for the event loop
    (`benchmarks/end_to_end.py`).
    """
    collect_seldom()
    sys.setswitchinterval(_SWITCH_S)


@worker_ready.connect
def _mark_ready(**_: object) -> None:
    _settle()
    if settings.ready_file is not None:
        settings.ready_file.parent.mkdir(parents=True, exist_ok=True)
        settings.ready_file.touch()


@worker_shutting_down.connect
def _mark_stopping(**_: object) -> None:
    if settings.ready_file is not None:
        settings.ready_file.unlink(missing_ok=True)


@worker_process_init.connect
def _prepare_child(**_: object) -> None:
    """Import and connect before the first task, so that it does not pay for it."""
    from workers.wiring import wiring  # noqa: PLC0415  built after the fork

    wiring().engine.connect().close()
    _settle()
