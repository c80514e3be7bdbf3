"""F16: a worker out of file descriptors, and one that stands still longer than its lease."""

from __future__ import annotations

import resource
import time

from messaging.local.children import group_members
from tests.chaos.fault import Fault
from tests.chaos.field import Field
from tests.chaos.oracle import Verdict


def no_descriptors(field: Field) -> Verdict:
    """The push and email workers may open nothing new for some seconds, and lose what connections they have."""
    field.misbehave("apns", "fcm", goaway_after=50)
    sent = field.send()
    field.under_way(sent, 0.05)
    pids = [pid for name in ("push", "email") for pid in group_members(field.stack.runtime.processes[name])]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    try:
        for pid, (_, most) in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, most))
        time.sleep(5)  # how long that lasts
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    field.misbehave("apns", "fcm")
    field.blow()
    return field.judge(sent)


def frozen(field: Field) -> Verdict:
    """A push worker stands still for twice its lease with requests at the provider, and then goes on."""
    field.misbehave("apns", "fcm", delay_ms=100)
    sent = field.send()
    field.under_way(sent, 0.02)
    with field.frozen("push"):
        time.sleep(2 * field.lease_s)  # how long it stands still
    return field.judge(sent)


FAULTS = (
    Fault(number="F16a", title="no file descriptors", run=no_descriptors),
    Fault(number="F16b", title="a worker frozen beyond its lease", run=frozen),
)
