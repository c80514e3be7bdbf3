"""F14: password codes while everybody else gets a newsletter."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens
from tests.chaos.fault import Fault
from tests.chaos.field import UNTOUCHED, Field
from tests.chaos.oracle import Verdict

_CODES = 100
_EVERY_S = 0.05


def codes_during_a_campaign(field: Field) -> Verdict:
    """A stream of single pushes beside the messages to everybody: the note says how long they took."""
    tokens = apns_tokens(_CODES)
    with field.stack.client() as client:
        targets = [client.targets.create(token, provider_id="apns").id for token in tokens]
    sent = field.send()
    field.under_way(sent, 0.02)
    asked: dict[str, float] = {}
    ids: list[str] = []
    with field.producer() as app:
        for token, target in zip(tokens, targets, strict=True):
            asked[token] = time.time()
            kwargs = {"title": "Your code", "body": "123456", "targets": [target]}
            ids.append(str(app.send_task(bare.PUSH, kwargs=kwargs, queue=bare.QUEUE).id))
            time.sleep(_EVERY_S)  # the rhythm of the codes
    busy = field.settled(sent) < len(sent.audience)
    both = replace(sent, ids=(*sent.ids, *ids), audience=(*sent.audience, *tokens))
    verdict = field.judge(both, allowed=UNTOUCHED, may_double=False)
    came = sent.tape.times()
    took = sorted(min(came[token]) - asked[token] for token in tokens if token in came) or [float("inf")]
    p50, p99 = took[len(took) // 2], took[-max(1, len(took) // 100)]
    where = "while it ran" if busy else "and it was over before the codes were"
    return replace(verdict, note=f"codes after {p50 * 1000:.0f} ms (p50), {p99 * 1000:.0f} ms (p99), {where}")


FAULTS = (Fault(number="F14", title="codes beside a campaign", run=codes_during_a_campaign),)
