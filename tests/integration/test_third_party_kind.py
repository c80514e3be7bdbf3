"""A package brings a provider of its own by entry points, and the road carries messages over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.road import SECRET, Road

ROOT = Path(__file__).resolve().parents[2]

KIND = """
from messaging.catalog import Field, ProviderKind
from messaging.channel import Channel

KIND = ProviderKind(
    name="acme_sms", channel=Channel.SMS, title="Acme SMS",
    credentials=(Field(name="apiKey", required=True, secret=True),), has_receipts=True,
    task_size=200, request_size=2, concurrency=20, endpoint="https://api.acme.example",
)
HIJACKED = ProviderKind(
    name="twilio", channel=Channel.SMS, title="Not Twilio", credentials=(), task_size=1, request_size=1, concurrency=1
)
"""
ADAPTER = """
from messaging.outcome import ACCEPTED
from messaging.receipt import Event, Receipt

class AcmeAdapter:
    def __init__(self, key):
        self.key = key
    def prepare(self, outgoing):
        return outgoing.content.content
    async def send(self, prepared, recipients):
        with open(__file__ + ".sent", "a") as sent:
            for recipient in recipients:
                sent.write(f"{self.key} {recipient.address} {prepared}\\n")
        return [ACCEPTED] * len(recipients)
    async def check(self):
        return ACCEPTED
    async def aclose(self):
        pass

def open_adapter(account, context):
    return AcmeAdapter(account.credentials["apiKey"])

async def read_receipts(inbound, account, fetch):
    return [Receipt(event=Event.DELIVERED, key=inbound.body.decode(), tag=inbound.body.decode())]
"""
POINTS = """
[messaging.kinds]
acme_sms = acme_messaging.kind:KIND
twilio = acme_messaging.kind:HIJACKED
broken = acme_messaging.nowhere:KIND

[messaging.providers]
acme_sms = acme_messaging.adapter
twilio = acme_messaging.adapter
"""
PROGRAM = """
import asyncio, json, sys, warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    from messaging.catalog import KINDS
from messaging import Messaging, Sms
from messaging.settings import Settings
from messaging.store import providers, receipts
from messaging.store.batches import BatchRef
from messaging.store.engine import open_engine
from messaging.vault import Vault
from sqlalchemy import text
from workers.adapters import Adapters, module_of
from workers.deliver import Deliverer
from workers.pacing import NoPacer
from workers.receipts import Receipts

settings = Settings.load()
engine, vault = open_engine(settings, role="test"), Vault(settings.secret_key.get_secret_value())
with Messaging.connect(database_url=sys.argv[1], secret_key=sys.argv[2]) as messaging:
    messaging.providers.create("acme_sms", provider_id="acme", apiKey="the key")
    sent = messaging.send(Sms(content="Hi"), addresses=["+14155550100", "+14155550101", "+14155550102"])

async def road():
    deliverer = Deliverer(engine, vault, settings, NoPacer(), Adapters(settings, None), lambda hints: True)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT month, id FROM batches WHERE state <> 2")).all()
    for row in rows:
        await deliverer.deliver(BatchRef(row.month, row.id))
    with engine.begin() as connection:
        key = providers.get(connection, vault, 1, "acme").receipt_key
        tag = connection.execute(text("SELECT month, message_id, target_id FROM deliveries ORDER BY 3 LIMIT 1")).one()
        from messaging.ids import delivery_tag
        receipts.keep(connection, key, method="POST", url="u", headers={}, body=delivery_tag(*tag).encode())
    await Receipts(engine, vault, settings, NoPacer()).apply_waiting()

asyncio.run(road())
with Messaging.connect(database_url=sys.argv[1], secret_key=sys.argv[2]) as messaging:
    statuses = [delivery.status for delivery in messaging.all_deliveries(sent.id)]
print(json.dumps({
    "statuses": statuses, "warnings": [str(each.message) for each in said],
    "twilio": [KINDS["twilio"].title, module_of("twilio").__name__],
}))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package, as far as Python can see."""
    code, told = tmp_path / "acme_messaging", tmp_path / "acme_messaging-1.0.dist-info"
    for folder in (code, told):
        folder.mkdir()
    (code / "__init__.py").touch()
    (code / "kind.py").write_text(KIND)
    (code / "adapter.py").write_text(ADAPTER.replace("\\\\n", "\\n"))
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-messaging\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(POINTS)
    return tmp_path


def test_a_kind_from_another_package_is_set_up_sent_with_and_reports(
    package: Path, postgres_url: str, valkey_url: str
) -> None:
    """And it can't take the place of one of ours; what can't be loaded is left out, and said."""
    Road(postgres_url, valkey_url).close()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(package), str(ROOT)]),
        "MESSAGING_DATABASE_URL": postgres_url,
        "MESSAGING_BROKER_URL": valkey_url,
        "MESSAGING_SECRET_KEY": SECRET,
    }
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, postgres_url, SECRET],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said["statuses"] == ["delivered", "accepted", "accepted"]
    assert said["twilio"] == ["Twilio", "workers.providers.twilio"]
    assert sorted(warning.split("'")[1] for warning in said["warnings"]) == ["broken", "twilio"]
    sent = (package / "acme_messaging" / "adapter.py.sent").read_text().splitlines()
    assert sent == [f"the key +1415555010{number} Hi" for number in range(3)]
