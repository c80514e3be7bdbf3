"""The control address: what arrived, faults on demand, keys to trust. JSON over HTTP."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.faults import PROTOCOLS, FaultPlan, FaultsError, parse_faults
from messaging.local.sandbox.inbox import page
from messaging.local.sandbox.keys import KeyFile, KeyRegistrationError, apns_key_name, check_p256, check_rsa
from messaging.local.sandbox.magic import magic_table
from messaging.local.sandbox.record import Record, select
from messaging.local.sandbox.webhooks import Manners, WebhookRefusedError, Webhooks

MAX_PAGE = 500
_CHUNK_LINES = 256


class Control:
    """The endpoints of the control address."""

    def __init__(
        self,
        *,
        record: Record,
        plan: FaultPlan,
        apns_keys: KeyFile,
        fcm_keys: KeyFile,
        on_faults: Callable[[str], None],
        webhooks: Webhooks,
    ) -> None:
        self._record = record
        self._plan = plan
        self._apns_keys = apns_keys
        self._fcm_keys = fcm_keys
        self._on_faults = on_faults
        self._webhooks = webhooks
        self._started = time.monotonic()
        self.addresses: SandboxAddresses | None = None
        """Known once the listeners are bound."""

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/health", self.health),
            Route("/record", self.record),
            Route("/counts", self.counts),
            Route("/inbox", self.inbox),
            Route("/magic", self.magic),
            Route("/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/webhooks", self.webhooks, methods=["GET", "POST"]),
            Route("/keys/apns", self.add_apns_key, methods=["POST"]),
            Route("/keys/fcm", self.add_fcm_key, methods=["POST"]),
        ]
        refused = (FaultsError, KeyRegistrationError, WebhookRefusedError, _BadRequestError)
        return Starlette(routes=routes, exception_handlers=dict.fromkeys(refused, _refuse))

    async def health(self, _: Request) -> Response:
        """GET /health: `{"status": "pass", "uptime_s", "addresses"}`."""
        addresses = None if self.addresses is None else self.addresses.as_json()
        return JSONResponse({"status": "pass", "uptime_s": time.monotonic() - self._started, "addresses": addresses})

    async def record(self, request: Request) -> Response:
        """GET /record?protocol=&since=: the lines of the record, as JSON lines; `since` in epoch seconds."""
        protocol = _protocol(request)
        since = _number(request, "since")
        self._record.flush()
        lines = select(self._record.path, protocol=protocol, since=since)
        return StreamingResponse(_chunks(lines), media_type="application/x-ndjson")

    async def counts(self, _: Request) -> Response:
        """GET /counts: per protocol the sums of record.Counts."""
        self._record.flush()
        return JSONResponse({protocol: asdict(counts) for protocol, counts in self._record.counts().items()})

    async def inbox(self, request: Request) -> Response:
        """GET /inbox?protocol=&channel=&recipient=&limit=&offset=: `{"messages": […]}`, as seen, newest first."""
        limit = min(int(_number(request, "limit") or 50), MAX_PAGE)
        offset = int(_number(request, "offset") or 0)
        protocol = _protocol(request)
        asked = {name: request.query_params.get(name) or None for name in ("channel", "recipient")}
        found = page(self._record.recent(), protocol=protocol, offset=offset, limit=limit, **asked)
        return JSONResponse({"messages": found})

    async def magic(self, _: Request) -> Response:
        """GET /magic: the table of magic addresses."""
        return JSONResponse(magic_table())

    async def faults(self, request: Request) -> Response:
        """POST a protocol's faults, GET all in force, DELETE them (?protocol= for one)."""
        if request.method == "POST":
            protocol, faults = parse_faults(await _body(request))
            self._plan.set(protocol, faults)
            self._on_faults(protocol)
        elif request.method == "DELETE":
            named = _protocol(request)
            self._plan.clear(named)
            for protocol in PROTOCOLS if named is None else (named,):
                self._on_faults(protocol)
        return JSONResponse({protocol: asdict(self._plan.dice(protocol).faults) for protocol in PROTOCOLS})

    async def webhooks(self, request: Request) -> Response:
        """GET the sums of receipts; POST an account's address, or how receipts are told from now on.

        {"kind", "url", "key"?}, or {"delay_ms"?, "twice"?, "shuffled"?}.
        """
        if request.method == "POST":
            body = await _body(request)
            if "kind" in body:
                self._webhooks.register(_text(body, "kind"), _text(body, "url"), str(body.get("key") or ""))
            else:
                self._webhooks.manners = Manners(
                    delay_s=float(body.get("delay_ms", 50)) / 1000,
                    twice=bool(body.get("twice")),
                    shuffled=bool(body.get("shuffled")),
                )
        return JSONResponse(self._webhooks.state())

    async def add_apns_key(self, request: Request) -> Response:
        """POST /keys/apns {"team_id", "key_id", "public_key_pem"}."""
        body = await _body(request)
        name = apns_key_name(_text(body, "team_id"), _text(body, "key_id"))
        self._apns_keys.put(name, check_p256(_text(body, "public_key_pem")))
        return JSONResponse({"registered": name}, status_code=201)

    async def add_fcm_key(self, request: Request) -> Response:
        """POST /keys/fcm {"client_email", "public_key_pem"}."""
        body = await _body(request)
        name = _text(body, "client_email")
        self._fcm_keys.put(name, check_rsa(_text(body, "public_key_pem")))
        return JSONResponse({"registered": name}, status_code=201)


class _BadRequestError(ValueError):
    """A control request can't be read; the text says which part, and what it takes."""


def _refuse(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise _BadRequestError(f"the body is no JSON ({error}): send a JSON object") from error
    if not isinstance(body, dict):
        raise _BadRequestError("the body must be a JSON object")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise _BadRequestError(f"{name} is missing: send it as text")
    return value


def _number(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError as error:
        raise _BadRequestError(f"{name} is {text!r}: use a number") from error
    if not 0 <= number < float("inf"):
        raise _BadRequestError(f"{name} is {text!r}: it must be a number of at least 0")
    return number


def _protocol(request: Request) -> str | None:
    protocol = request.query_params.get("protocol") or None
    if protocol is not None and protocol not in PROTOCOLS:
        raise _BadRequestError(f"protocol is {protocol!r}: use one of {', '.join(PROTOCOLS)}")
    return protocol


def _chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Many lines per chunk: each chunk of a streamed answer costs a thread switch."""
    waiting: list[bytes] = []
    for line in lines:
        waiting.append(line)
        if len(waiting) == _CHUNK_LINES:
            yield b"".join(waiting)
            waiting.clear()
    yield b"".join(waiting)
