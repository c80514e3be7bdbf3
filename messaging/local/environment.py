"""The environment the stack's processes get: ours, the addresses of this stack, and this stack's secrets."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from messaging.local.sandbox import web

if TYPE_CHECKING:
    from collections.abc import Mapping

_SANDBOX_ENDPOINTS = ("apns", "fcm", "fcm_token", "sendgrid", "twilio")


def node_suffix(directory: Path) -> str:
    """What makes this directory's Celery node names differ from those of another set of workers on this host."""
    return "-" + hashlib.sha256(str(directory).encode()).hexdigest()[:6]


def base_environment(
    directory: Path, *, database_url: str, broker_url: str, redis_url: str, secret_key: str
) -> dict[str, str]:
    """The variables every process gets; an empty `redis_url` is left out (the broker is it, then)."""
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    env["NODE_SUFFIX"] = node_suffix(directory)
    env["MESSAGING_DATABASE_URL"] = database_url
    env["MESSAGING_BROKER_URL"] = broker_url
    env["MESSAGING_SECRET_KEY"] = secret_key
    env["MESSAGING_BEAT_FILE"] = str(directory / "beat" / "schedule")
    if redis_url:
        env["MESSAGING_REDIS_URL"] = redis_url
    return env


def sandbox_environment(addresses: Mapping[str, str]) -> dict[str, str]:
    """The variables that point the adapters at the sandbox and make them trust its certificates."""
    kinds = (*_SANDBOX_ENDPOINTS, *web.names())
    env = {f"MESSAGING_ENDPOINTS__{kind.upper()}": addresses[kind] for kind in kinds if kind in addresses}
    env["MESSAGING_CA_FILE"] = addresses["ca_file"]
    env["MESSAGING_SANDBOX_URL"] = addresses["control"]
    # the mail stand-in, and receivers of webhooks that people try here
    env["MESSAGING_PRIVATE_DESTINATIONS"] = os.environ.get("MESSAGING_PRIVATE_DESTINATIONS", "127.0.0.0/8,::1")
    return env


def flower_environment(password: str, cookie_secret: str, *, events: bool) -> dict[str, str]:
    """Flower's own variables: its password stays out of every command line."""
    return {
        "FLOWER_BASIC_AUTH": f"admin:{password}",
        "FLOWER_COOKIE_SECRET": cookie_secret,
        "FLOWER_ENABLE_EVENTS": "true" if events else "false",  # workers tell of their tasks unasked
    }
