"""Whom the benchmarks of the push road send to: an account at APNs or FCM, so many devices, topics of them."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import text

from benchmarks.push_road import settings
from benchmarks.stack import SECRET, Servers
from messaging import Messaging
from messaging.limits import Limits
from messaging.store import projects
from messaging.store.engine import open_engine

KINDS = ("apns", "fcm")
# as long as real ones are: 64 hexadecimal digits, and about 160 characters
_TOKENS = {"apns": "md5(i::text) || md5(i::text)", "fcm": "repeat(md5(i::text), 5)"}


def prepare(found: Servers, kind: str, targets: int) -> None:
    """An account of this kind with a key made now, and so many devices of it, in statements of whole sets."""
    engine = open_engine(settings(found), role="benchmark")
    with engine.begin() as connection:
        projects.ensure(connection, "default")
    with Messaging.connect(database_url=found.database_url, secret_key=SECRET) as client:
        client.providers.create(kind, provider_id=kind, **_account(kind))
    with engine.begin() as connection:
        connection.execute(
            text(f"""INSERT INTO targets (project_id, provider_id, public_id, channel, identifier, address_hash)
                     SELECT p.project_id, p.id, :kind || i, 'push', {_TOKENS[kind]}, int8send(i * :of + :offset)
                       FROM providers p, generate_series(CAST(1 AS bigint), :n) AS i WHERE p.public_id = :kind"""),
            {"kind": kind, "n": targets, "of": len(KINDS), "offset": KINDS.index(kind)},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE targets"))
    engine.dispose()


def limit(found: Servers, kind: str, per_second: float | None) -> None:
    """Let the account send so much a second; None: as much as its provider allows by default."""
    with Messaging.connect(database_url=found.database_url, secret_key=SECRET) as client:
        client.providers.update(kind, limits=Limits(per_second=per_second))


def topic(found: Servers, name: str, kind: str, targets: int) -> None:
    """A topic with the first so many devices of this kind."""
    with Messaging.connect(database_url=found.database_url, secret_key=SECRET) as client:
        client.topics.create(name, name="Benchmark")
    engine = open_engine(settings(found), role="benchmark")
    with engine.begin() as connection:
        added = connection.execute(
            text("""INSERT INTO subscribers (project_id, topic_id, target_id, channel, public_id)
                    SELECT g.project_id, o.id, g.id, g.channel, :name || g.id
                      FROM topics o, providers p, targets g
                     WHERE o.public_id = :name AND p.public_id = :kind AND g.provider_id = p.id
                     ORDER BY g.id LIMIT :n"""),
            {"name": name, "kind": kind, "n": targets},
        ).rowcount
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE subscribers"))
    engine.dispose()
    if added != targets:
        raise RuntimeError(f"The topic {name} has {added} devices and not {targets}: prepare() as many first.")


def _account(kind: str) -> dict[str, Any]:
    if kind == "apns":
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = ec.generate_private_key(ec.SECP256R1())
        return {
            "authKey": _pem(key),
            "authKeyId": "KEY4567890",
            "teamId": "TEAM567890",
            "bundleId": "com.example.app",
        }
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "project_id": "demo",
        "private_key_id": "benchmark",
        "private_key": _pem(key),
        "client_email": "benchmark@demo.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return {"serviceAccountJSON": json.dumps(account)}


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    encoding, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, plain, serialization.NoEncryption()).decode()
