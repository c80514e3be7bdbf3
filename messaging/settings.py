"""Settings, read once at the edge from `MESSAGING_*` into a frozen object."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlencode

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from messaging.errors import SettingsError
from messaging.metrics_access import checked_ports

PREFIX = "MESSAGING_"

_REDIS = ("redis://", "rediss://", "unix://", "sentinel://")

_NOT_OURS = frozenset({"MESSAGING_SHARED_DIR"})
"""Read by the test suite only."""


_ORIGIN = re.compile(r"\*|(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)


def _listed(value: object) -> object:
    """Host names from a text with commas (or a JSON list), in lower case."""
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith('["') else value.split(",")
    if not isinstance(value, (list, tuple)):
        return value
    found = [each.strip().lower() if isinstance(each, str) else "" for each in value]
    for each in found:
        if each and not _ORIGIN.fullmatch(each):
            raise ValueError(f"'{each}' is neither a host name, nor host:port, nor *; write example.org, no address")
    return tuple(each for each in found if each)


_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)


def _destinations(value: object) -> object:
    """Networks (CIDR), addresses and host names from a text with commas (or a JSON list), in lower case."""
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith('["') else value.split(",")
    if not isinstance(value, (list, tuple)):
        return value
    found = [each.strip().lower() for each in map(str, value) if each.strip()]
    for each in found:
        try:
            ip_network(each, strict=False)
        except ValueError:
            if not _HOST.fullmatch(each) or each.rpartition(".")[2].isdecimal():
                raise ValueError(
                    f"'{each}' is neither a network such as 10.0.0.0/8, nor an address, nor a host name"
                ) from None
    return tuple(found)


class Settings(BaseSettings):
    """Everything that can be set. Each field is `MESSAGING_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    database_url: SecretStr = Field(description="postgresql://… of the truth")
    broker_url: SecretStr = Field(description="redis://… or amqp://… of the broker")
    sentinel_master: str | None = Field(
        None,
        validate_default=True,
        description="the master's name among Redis Sentinels, with a broker of sentinel://a:26379;sentinel://b:26379/0",
    )
    sentinel_password: SecretStr | None = Field(None, description="what the Sentinels themselves ask for, if anything")
    rabbitmq_queue_type: Literal["quorum"] | None = Field(
        None,
        description="what the intake's queues become on RabbitMQ where no producer has made them yet; the broker's own"
        " default when unset, as for a producer that sets nothing",
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis for pacing and breakers; the broker where that is Redis"
    )
    secret_key: SecretStr = Field(description="encrypts credentials at rest; 32 random characters or more")
    result_backend_url: SecretStr | None = Field(None, description="where Celery results go; none by default")
    project: str = Field("default", description="project of producers that name none")
    public_url: str | None = Field(
        None,
        pattern=r"^https://[^\s/?#@]+(?:/[^\s?#]*)?$",
        description="https://… under which devices reach the API, for the images of push messages",
    )

    callback_url: str | None = Field(
        None,
        pattern=r"^(?:https://[^\s/?#@]+|http://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]+)?)(?:/[^\s?#]*)?$",
        description="https://… under which providers' receipts and readers' unsubscribe links reach the API, where"
        " that is not public_url (http:// on this machine, for tests)",
    )

    console_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+(?:/[^\s?#]*)?$",
        description="address of the console, for Flower's links to it; public_url with /console when unset",
    )
    flower_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+(?:/[^\s?#]*)?$",
        description="address of Flower, for the console's links to it; no links when unset",
    )

    endpoints: Mapping[str, str] = Field(
        default_factory=dict, description="base addresses replacing providers' own, by kind"
    )
    ca_file: Path | None = Field(None, description="extra certificate authority to trust")
    sandbox_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+$",
        description="control address of the stand-ins for the providers, whose inbox the console shows",
    )
    private_destinations: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_destinations)] = Field(
        (),
        description="networks (10.0.0.0/8), addresses and host names, by commas, off the public internet to which the"
        " addresses of accounts and messages (webhooks, mail servers, push subscriptions) may lead all the same",
    )

    broker_ca_file: Path | None = Field(
        None,
        description="certificate authority of a broker over TLS (rediss://, amqps://), and of the Redis for pacing",
    )
    task_signing_certificates: Path | None = Field(
        None, description="folder of the certificates whose tasks are accepted; unsigned tasks are then refused"
    )
    task_signing_key: Path | None = Field(None, description="PEM of our own RSA key, which signs our own tasks")
    task_signing_certificate: Path | None = Field(
        None, description="PEM of its certificate; further ones in the file are accepted as ours, while keys change"
    )

    lease_s: float = Field(60.0, gt=0, description="how long a worker owns a batch without renewing")
    visibility_timeout_s: int = Field(
        60, ge=1, description="after this a Redis broker hands an unacknowledged task out again"
    )
    max_attempts: int = Field(8, ge=1, description="provider calls per delivery at most")
    max_deaths: int = Field(
        3, ge=1, le=100, description="workers a batch, fan-out or task may end in a row before it is put in quarantine"
    )
    task_limit_s: int = Field(
        45, ge=1, description="an intake or fan-out task that takes longer is ended; less than the visibility timeout"
    )
    watchdog_s: float = Field(
        120.0, ge=0, description="a worker that does nothing for so long though there is work ends itself; 0: never"
    )
    backoff_min_s: float = Field(1.0, gt=0, description="first pause before a new attempt; it doubles")
    backoff_max_s: float = Field(3600.0, gt=0, description="longest pause before a new attempt")
    expires_after_s: float = Field(72 * 3600.0, gt=0, description="a message not sent by then expires")
    expires_after_high_sms_s: float = Field(600.0, gt=0, description="the same for SMS in the high lane")
    small_audience: int = Field(100, ge=0, description="audiences below this take the high lane")
    page_size: int = Field(10_000, ge=1, description="targets a fan-out page holds")
    task_size: int | None = Field(
        None, ge=1, description="deliveries a batch holds; the provider kind's own when unset"
    )
    window_max: int = Field(500, ge=1, description="deliveries claimed at once")
    flush_ms: int = Field(100, ge=1, description="outcomes wait this long to be recorded together")
    hints_high_water: int = Field(1000, ge=1, description="hints a queue holds before the rest waits in PostgreSQL")
    hint_pause_s: float = Field(30.0, gt=0, description="first pause before a hint is repeated; doubles each time")
    dead_grace_s: float = Field(60.0, ge=0, description="a dead address is expired this long after its verdict")
    sweep_every_s: float = Field(1.0, gt=0, description="how often beat asks for a sweep")
    retention_days: int = Field(90, ge=1, description="how long messages and their ledger are kept")
    http_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        ("localhost", "127.0.0.1"),
        description="pages that may call the API from a browser: host names (any port) or host:port, by commas;"
        " * for all pages, without cookies",
    )
    http_rate_limits: bool = Field(default=True, description="whether sign-in and the like are limited")
    intake_queues: tuple[str, ...] = Field((), description="further queues the intake reads, e.g. celery")

    metrics_port: Annotated[str | None, BeforeValidator(checked_ports)] = Field(
        None,
        description="port at which a worker serves /metrics; none when unset. Where processes share an environment,"
        " role=port by commas: push=9101,push-high=9102",
    )
    metrics_token: SecretStr | None = Field(
        None, min_length=16, description="bearer token that /metrics asks for; without one it answers this machine only"
    )
    tracing: bool = Field(
        default=False,
        description="whether OpenTelemetry spans are made and exported, as OTEL_* says (pip install heliograph[otel])",
    )

    ready_file: Path | None = Field(None, description="a worker, or beat, writes this file when it is ready")
    beat_file: Path | None = Field(None, description="beat's schedule file")

    @field_validator("sentinel_master")
    @classmethod
    def _named(cls, value: str | None, info: ValidationInfo) -> str | None:
        broker = info.data.get("broker_url")
        if value is None and broker is not None and broker.get_secret_value().startswith("sentinel:"):
            raise ValueError("which of the servers they watch do the Sentinels of broker_url lead to? Name its master")
        return value

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """Settings from the environment, overridden by keyword; raises `SettingsError` naming each fault."""
        names = os.environ if environ is None else environ
        known = {PREFIX + name.upper() for name in cls.model_fields}
        unknown = sorted(
            name
            for name in names
            if name.startswith(PREFIX)
            and name not in _NOT_OURS
            and name.upper() not in known
            and not name.upper().startswith(PREFIX + "ENDPOINTS__")
        )
        if unknown:
            raise SettingsError(f"Unknown setting {', '.join(unknown)}. Remove it, or correct its spelling.")
        try:
            return cls(**overrides)  # type: ignore[arg-type]  # pydantic validates them
        except ValidationError as error:
            faults = "; ".join(
                f"{PREFIX}{'__'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
                for fault in error.errors()
            )
            raise SettingsError(f"Cannot start with these settings: {faults}") from None

    @cached_property
    def sqlalchemy_url(self) -> str:
        """The database address with the driver SQLAlchemy needs."""
        return sqlalchemy_url(self.database_url.get_secret_value())

    @property
    def outside_url(self) -> str | None:
        """Where this API is reached from outside, without a path of ours; None where nobody said."""
        url = self.callback_url or self.public_url
        return None if url is None else url.rstrip("/").removesuffix("/v1")

    @property
    def console_address(self) -> str | None:
        """Where people open the console, without a slash at its end; None where nobody said."""
        if self.console_url is not None:
            return self.console_url.rstrip("/")
        return None if self.outside_url is None else f"{self.outside_url}/console"

    def receipts_url(self, key: str) -> str | None:
        """The address an account with that receipt key reports to; None where nobody said how we are reached."""
        return None if self.outside_url is None else f"{self.outside_url}/v1/receipts/{key}"

    @property
    def pacing_url(self) -> str | None:
        """The Redis that paces providers; None where neither `redis_url` nor a Redis broker is set."""
        if self.redis_url is not None:
            return self.with_authority(self.redis_url.get_secret_value())
        broker = self.broker_url.get_secret_value()
        return self.with_authority(broker) if broker.startswith(_REDIS) else None

    def with_authority(self, url: str) -> str:
        """The address of a Redis, complete for `redis_address.client`.

        Over TLS with `broker_ca_file`, where it names no authority itself; Sentinels with their master's name.
        """
        if url.startswith("sentinel:"):
            named = {"master": self.sentinel_master or ""}
            if self.sentinel_password is not None:
                named["sentinel_password"] = self.sentinel_password.get_secret_value()
            return f"{url}?{urlencode(named)}"
        if self.broker_ca_file is None or not url.startswith("rediss://") or "ssl_ca_certs=" in url:
            return url
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'ssl_ca_certs': str(self.broker_ca_file)})}"


def sqlalchemy_url(url: str) -> str:
    """`url` with `postgresql+psycopg://` whatever of the usual spellings it has."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url
