"""The Celery application of the workers: `celery -A workers.app worker …`."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from billiard.process import current_process
from celery import Celery
from celery.signals import (
    celeryd_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)
from celery.worker import state
from kombu.serialization import register

from messaging import tracing
from messaging.errors import MessagingError
from messaging.interpreter import collect_seldom
from messaging.log_lines import set_up_logs
from messaging.metrics_access import port_of
from messaging.publish import Publisher, broker_settings
from messaging.settings import Settings
from messaging.store.engine import AWAY
from messaging.task_signatures import CONTENT_TYPE, SERIALIZER, Signer, Trusted
from messaging.wire import Queue, TaskName
from workers.admission import Admission
from workers.every import Every
from workers.niceness import make_niceness_count
from workers.pulse import pulse
from workers.quiet import keep_quiet
from workers.watchdog import Activity, end_within

if "celery" in Path(sys.argv[0]).parts and "flower" in sys.argv and not {"worker", "beat"} & set(sys.argv):
    # Flower as `celery … flower` starts it asks for no password, and shuts workers down for whoever asks
    sys.exit("Start Flower with `python -m workers.flower`: there it has a password, and only shows.")

settings = Settings.load()
tracing.require(settings)

_SWITCH_S = 0.001
_STOP_S = 120.0
"""How long a worker without a watchdog may take to stop."""


class App(Celery):
    """Celery's, with what decides about the tasks that come."""

    task_cls = "workers.quiet:Task"
    admission: Admission
    ready_file: Path | None
    """Where a worker, or beat, leaves a sign of life."""


app = App("messaging", include=["workers.tasks"])
set_up_logs()
keep_quiet()
app.conf.update(broker_settings(settings))
_signed: dict[str, Any] = {}
"""Options of the tasks that beat sends."""
_signer = Signer.of(settings)
if _signer is not None:
    _sign = _signer.sign
    register(SERIALIZER, lambda task: _sign(json.dumps(task).encode()).decode(), None, CONTENT_TYPE, "utf-8")
    _signed["serializer"] = SERIALIZER
    # anyone at the broker could say `shutdown`; a signature of Celery's would cover that no better than a task's name
    app.conf.worker_enable_remote_control = False
app.ready_file = settings.ready_file
app.admission = Admission([*TaskName], trusted=Trusted.of(settings), project=settings.project)
app.conf.update(
    result_backend=None if settings.result_backend_url is None else settings.result_backend_url.get_secret_value(),
    task_ignore_result=settings.result_backend_url is None,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=2,
    worker_eta_task_limit=1000,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # a broker that refuses (full, unable to write, a replica since a fail-over) is waited for, as one that is away
    broker_channel_error_retry=True,
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
    worker_consumer="workers.transport:Consumer",
    task_routes={
        TaskName.SWEEP: {"queue": Queue.SWEEP},
        TaskName.HOUSEKEEPING: {"queue": Queue.SWEEP},
        TaskName.RECEIPTS: {"queue": Queue.RECEIPTS},
        TaskName.CANCEL: {"queue": Queue.INTAKE_HIGH},
    },
    beat_schedule={
        "sweep": {
            "task": TaskName.SWEEP,
            "schedule": Every(settings.sweep_every_s),
            # no `expires`: it would be a time by beat's clock, and where that is slow workers would throw all away
            "options": {"ignore_result": True} | _signed,
        },
        "housekeeping": {"task": TaskName.HOUSEKEEPING, "schedule": Every(6 * 3600.0), "options": _signed},
    },
    beat_scheduler="workers.every:Scheduler",
    beat_schedule_filename=str(settings.beat_file or "celerybeat-schedule"),
)
if settings.broker_url.get_secret_value().startswith("redis"):
    app.conf.broker_transport = "workers.redis_transport:Transport"
elif settings.broker_url.get_secret_value().startswith("sentinel"):
    app.conf.broker_transport = "workers.redis_transport:SentinelTransport"
elif settings.broker_url.get_secret_value().startswith("amqp"):
    tls = settings.broker_url.get_secret_value().startswith("amqps")
    app.conf.broker_transport = f"workers.rabbit_transport:{'TlsTransport' if tls else 'Transport'}"


def _settle() -> None:
    """Collect garbage seldom, and let threads hand over after a fifth of the usual time.

    So that a claim or a record, a handful of round trips, does not wait 5 ms at each for the event loop
    (`benchmarks/end_to_end.py`).
    """
    collect_seldom()
    sys.setswitchinterval(_SWITCH_S)


@celeryd_init.connect
def _prepare_metrics(sender: str, **_: object) -> None:
    """Before the pool forks, and before anything is counted."""
    from workers.metrics_files import places  # noqa: PLC0415  what only a worker with metrics needs

    port = port_of(settings.metrics_port, sender)
    if port is not None:
        places.use()
        _metrics_ports.append(port)


_metrics_ports: list[int] = []
_metrics: list[Any] = []
"""The server of this worker's metrics, where it has one."""


def _serve_metrics(consumer: Any) -> None:  # noqa: ANN401
    from workers.metrics_files import places  # noqa: PLC0415
    from workers.metrics_server import MetricsServer  # noqa: PLC0415

    token = None if settings.metrics_token is None else settings.metrics_token.get_secret_value()
    for port in _metrics_ports:
        server = MetricsServer(port, lambda: places.registry([place for place, _ in _children(consumer)]), token=token)
        server.start()
        _metrics.append(server)


@worker_ready.connect
def _mark_ready(sender: Any, **_: object) -> None:  # noqa: ANN401  Celery's Consumer has no types
    from workers.minding import mind_worker  # noqa: PLC0415  imports what only a worker needs
    from workers.wiring import wiring  # noqa: PLC0415  (as above)

    if not _children(sender):  # a pool of threads: its tasks run here
        with suppress(*AWAY, MessagingError):  # then the first task says so
            wiring().engine.connect().close()
    _settle()
    make_niceness_count()
    _stop_softly_at_once()
    if settings.ready_file is not None:
        settings.ready_file.parent.mkdir(parents=True, exist_ok=True)
        settings.ready_file.touch()
    _running.append(sender)
    _serve_metrics(sender)
    if settings.watchdog_s:
        depths = Publisher(settings)
        mind_worker(settings, lambda: _activity(sender), depths.waiting, lambda: _children(sender))


_running: list[Any] = []
"""The consumer of this worker, once it is ready."""


def _activity(consumer: Any) -> Activity:  # noqa: ANN401
    reads = consumer.task_consumer
    return Activity(
        begun=state.all_total_count[0],
        active=len(state.active_requests),
        reserved=len(state.reserved_requests),
        capacity=consumer.pool.num_processes,
        queues=[] if reads is None else [queue.name for queue in reads.queues],
    )


def _children(consumer: Any) -> list[tuple[int, int]]:  # noqa: ANN401
    """(place, process id) of the processes of a pool; none where it is threads."""
    pool = getattr(consumer.pool, "_pool", None)
    return [(child.index, child.pid) for child in getattr(pool, "_pool", None) or () if child.pid]


def _stop_softly_at_once() -> None:
    """Let SIGQUIT and SIGINT end the claiming when they come, not when Celery has waited for what goes on.

    Celery tells of such a stop only after its soft shutdown (celery 5.7, apps/worker.py).
    """
    for number in (signal.SIGQUIT, signal.SIGINT):
        theirs = signal.getsignal(number)
        if not callable(theirs):
            continue

        def ours(signum: int, frame: FrameType | None, theirs: Any = theirs) -> None:  # noqa: ANN401
            _stop_claiming()
            theirs(signum, frame)

        signal.signal(number, ours)


def _stop_claiming() -> None:
    """Nothing more is begun; what is in flight is finished and recorded, within a time."""
    if not pulse.is_stopping:
        pulse.stop()
        end_within(settings.watchdog_s or _STOP_S, lambda: [pid for each in _running for _, pid in _children(each)])


@worker_shutting_down.connect
def _mark_stopping(**_: object) -> None:
    _stop_claiming()
    if settings.ready_file is not None:
        settings.ready_file.unlink(missing_ok=True)


@worker_process_init.connect
def _prepare_child(**_: object) -> None:
    """Import and connect before the first task, so that it does not pay for it."""
    from workers.metrics_files import places  # noqa: PLC0415
    from workers.minding import mind_child  # noqa: PLC0415
    from workers.wiring import wiring  # noqa: PLC0415  built after the fork

    child: Any = current_process()
    places.take(child.index)
    for server in _metrics:
        server.close_inherited()
    wiring().engine.connect().close()
    _settle()
    if settings.watchdog_s:
        mind_child(settings, child.index)


@worker_process_shutdown.connect
def _end_child(**_: object) -> None:
    tracing.shut_down()
