"""`make demo`: the whole system on this machine, one message through each channel, and the account of it."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from messaging.client.messaging import Messaging
from messaging.errors import MessagingError, NotFoundError
from messaging.local.demo_check import Sent, Verdict, judge
from messaging.local.demo_people import ADA, BETA, LETTER, NEWS, People, add_people, add_providers
from messaging.local.demo_producer import ProducedTask, produce
from messaging.local.demo_stack import DemoError, DemoStack
from messaging.message import Attachment, Email, Sms

USERS = 10_000
_FINISH_TIMEOUT_S = 90.0
_LATER_S = 5
_LOOK_S = 0.2
_PIPED_WIDTH = 140


def main(argv: Sequence[str] | None = None) -> int:
    """0: everything was delivered once and accounted for; 1 with the reason on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m messaging.local.demo", description=__doc__)
    parser.add_argument("--users", type=int, default=USERS, help="how many people; 10,000 by default")
    parser.add_argument("--keep-up", action="store_true", help="leave the stack running until Ctrl-C")
    given = parser.parse_args(argv)
    directory = Path(tempfile.mkdtemp(prefix="heliograph-demo-"))
    stack = DemoStack(directory / "data")
    well = False
    try:
        well = _demonstrate(stack, given.users)
        if given.keep_up:
            _keep_up(stack)
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
    except (MessagingError, TimeoutError) as error:
        print(f"demo: {error}", file=sys.stderr)
    finally:
        print("Stopping the stack.", flush=True)
        stopped = stack.stop()
    if not stopped:
        print(f"demo: the stack did not stop in order; see the logs in {directory}", file=sys.stderr)
    if well and stopped:
        shutil.rmtree(directory, ignore_errors=True)
    elif directory.exists():
        print(f"demo: data and logs stay in {directory}", file=sys.stderr)
    return 0 if well and stopped else 1


def _demonstrate(stack: DemoStack, users: int) -> bool:
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    with _progress(console) as progress:
        task = progress.add_task("Starting the stack", total=None)
        ready_s = stack.start(lambda _: None)
        progress.update(task, total=1, completed=1)
    runtime = stack.runtime
    where = f"API: {runtime['endpoint']} · Flower: {runtime['flower']}"
    console.print(f"Ready after {ready_s:.1f} s. {where}", highlight=False)
    with Messaging.from_runtime(stack.data_dir) as messaging:
        kinds = add_providers(messaging, stack.runtime["sandbox"], stack.runtime["endpoint"])
        console.print(f"Providers, against the sandbox: {', '.join(kinds)}.", highlight=False)
        people = _people(console, messaging, users)
        run = secrets.token_hex(3)
        sent = _send(messaging, stack, people, run)
        _watch(console, messaging, sent)
        verdicts = judge(messaging, Path(stack.data_dir) / "sandbox" / "record.jsonl", sent)
    return _report(console, verdicts)


def _people(console: Console, messaging: Messaging, users: int) -> People:
    with _progress(console) as progress:
        tasks: dict[str, TaskID] = {}

        def moved(topic: str, rows: int) -> None:
            if topic not in tasks:
                tasks[topic] = progress.add_task(f"People of topic {topic}", total=None)
            progress.update(tasks[topic], completed=rows)

        people = add_people(messaging, users, moved)
        for task in progress.tasks:
            progress.update(task.id, total=task.completed)
    rows = sum(result.rows for result in people.results.values())
    seconds = sum(result.seconds for result in people.results.values())
    console.print(
        f"{people.users:,} users with push, email and SMS targets, {people.dead:,} push tokens dead:"
        f" {rows:,} subscriptions in {seconds:.1f} s ({rows / seconds:,.0f} rows/s).",
        highlight=False,
    )
    return people


def _send(messaging: Messaging, stack: DemoStack, people: People, run: str) -> list[Sent]:
    later, now = (f"{run} {word}" for word in ("five seconds later", "by a bare Celery client"))
    scheduled_id, push_id = produce(
        stack.runtime["broker_url"],
        [
            ProducedTask(
                name="messaging.send_push",
                kwargs={"title": f"Demo {later}", "body": "By eta.", "topics": [BETA]},
                in_s=_LATER_S,
            ),
            ProducedTask(
                name="messaging.send_push",
                kwargs={"title": f"Demo {now}", "body": "One push each.", "topics": [NEWS, BETA]},
            ),
        ],
    )
    letter, paper, code = (f"{run} {word}" for word in ("newsletter", "paper", "code"))
    email = messaging.send(
        Email(subject=f"Demo {letter}", content="<h1>Hello</h1><p>This is <b>HTML</b>.</p>", html=True),
        topics=[LETTER],
    )
    attached = messaging.send(
        Email(
            subject=f"Demo {paper}",
            content="With an attachment.",
            attachments=(Attachment(filename="paper.txt", content_type="text/plain", content=b"Paper.\n" * 500),),
        ),
        users=[ADA],
    )
    sms = messaging.send(Sms(content=f"Demo {code}: 246810"), users=[ADA])
    return [
        Sent(
            label="push, bare Celery",
            message_id=push_id,
            marker=now,
            total=people.users,
            failed=people.dead,
        ),
        Sent(label="HTML email, topic", message_id=email.id, marker=letter, total=people.users),
        Sent(label="email + attachment", message_id=attached.id, marker=paper, total=1),
        Sent(label="SMS code", message_id=sms.id, marker=code, total=1),
        Sent(
            label=f"push, eta +{_LATER_S} s",
            message_id=scheduled_id,
            marker=later,
            total=people.in_beta,
        ),
    ]


def _watch(console: Console, messaging: Messaging, sent: Sequence[Sent]) -> None:
    deadline = time.monotonic() + _FINISH_TIMEOUT_S
    with _progress(console) as progress:
        tasks = {each.message_id: progress.add_task(each.label, total=each.total) for each in sent}
        waiting = dict(tasks)
        while waiting:
            for message_id, task in list(waiting.items()):
                with suppress(NotFoundError):  # the intake has not come to it yet
                    message = messaging.get(message_id)
                    progress.update(task, completed=message.settled)
                    if message.state.is_finished:
                        del waiting[message_id]
            if waiting and time.monotonic() > deadline:
                names = ", ".join(each.label for each in sent if each.message_id in waiting)
                raise DemoError(f"Not finished after {_FINISH_TIMEOUT_S:.0f} s: {names}.")
            time.sleep(_LOOK_S)


def _report(console: Console, verdicts: Sequence[Verdict]) -> bool:
    table = Table(title="What became of them", box=SIMPLE_HEAD)
    for column in ("message", "state"):
        table.add_column(column)
    for column in ("targets", "accepted", "delivered", "failed", "expired", "seconds", "per s", "p50 s", "p99 s"):
        table.add_column(column, justify="right", no_wrap=True)
    for verdict in verdicts:
        failed = "\n".join(f"{total:,} {reason}" for reason, total in verdict.failed.items()) or "0"
        table.add_row(
            verdict.sent.label,
            verdict.message.state,
            f"{verdict.message.total:,}",
            f"{verdict.accepted:,}",
            f"{verdict.delivered:,}" if verdict.delivered else "-",
            failed,
            f"{verdict.expired_targets:,}",
            f"{verdict.duration_s:.2f}",
            f"{verdict.rate_per_s:,.0f}",
            f"{verdict.p50_s:.2f}",
            f"{verdict.p99_s:.2f}",
        )
    console.print(table)
    lost, doubled = (sum(getattr(verdict, name) for verdict in verdicts) for name in ("lost", "doubled"))
    console.print(f"Ledger against the sandbox's record: lost {lost:,}, doubled {doubled:,}.", highlight=False)
    problems = [problem for verdict in verdicts for problem in verdict.problems]
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)
    return not problems


def _keep_up(stack: DemoStack) -> None:
    print(f"The stack stays up. Try: messaging status --data-dir {stack.data_dir}. Stop with Ctrl-C.", flush=True)
    with suppress(KeyboardInterrupt):
        stack.wait()


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


if __name__ == "__main__":
    sys.exit(main())
