"""The sandbox as a process: one asyncio loop, five providers on loopback, a record, a control address."""

import argparse
import asyncio
import contextlib
import datetime as dt
import gc
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import uvicorn

from messaging.local.free_ports import free_ports, take
from messaging.local.sandbox import web
from messaging.local.sandbox.addresses import PORT_NAMES, PortsError, SandboxAddresses, check_ports, former_ports
from messaging.local.sandbox.apns import Apns
from messaging.local.sandbox.apns_tokens import ProviderTokens
from messaging.local.sandbox.certificates import ensure_certificates
from messaging.local.sandbox.control import Control
from messaging.local.sandbox.faults import FaultPlan
from messaging.local.sandbox.fcm import Fcm
from messaging.local.sandbox.keys import KeyFile
from messaging.local.sandbox.listeners import HOST, ControlServer, Listeners
from messaging.local.sandbox.magic import Judge
from messaging.local.sandbox.oauth import AccessTokens, TokenEndpoint
from messaging.local.sandbox.record import Record
from messaging.local.sandbox.sendgrid import SendGrid
from messaging.local.sandbox.smtp import SmtpHandler
from messaging.local.sandbox.twilio import Twilio
from messaging.local.sandbox.webhooks import Webhooks

__all__ = ["SandboxAddresses", "SandboxError", "main", "serve"]

_ADDRESSES_FILE = "addresses.json"
_FORMER_FILE = "addresses.former.json"
"""Where the addresses go while nobody answers there: the other file exists only while the sandbox is ready."""


class SandboxError(RuntimeError):
    """The sandbox can't start or went down; the text says which part of it and what to change."""


async def serve(
    directory: Path,
    *,
    ports: Mapping[str, int] | None = None,
    ready: Callable[[SandboxAddresses], None],
    stop: asyncio.Event,
) -> None:
    """Run the sandbox on files in `directory` until `stop` is set.

    `ports` names listeners (addresses.PORT_NAMES); one that isn't named keeps the port of its last run if that is
    free, else takes any. `ready` is called once, when every listener answers; `addresses.json` is written by then.
    Raises PortsError for a port that isn't one of ours, SandboxError for one that is taken.
    """
    wanted = check_ports(ports or {})
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # once, before anybody is served
    addresses_file, former_file = directory / _ADDRESSES_FILE, directory / _FORMER_FILE
    _retire(addresses_file, former_file)
    certificates = ensure_certificates(directory, now=dt.datetime.now(dt.UTC))
    plan = FaultPlan()
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(opened) for name, opened in _bind(wanted, former_ports(former_file))}
        record = stack.enter_context(Record(directory / "record.jsonl"))
        listeners = Listeners(record=record, plan=plan, certificates=certificates)
        apns_keys, fcm_keys = KeyFile(directory / "apns_keys.json"), KeyFile(directory / "fcm_keys.json")
        tokens = AccessTokens(_secret(directory / "oauth.secret"))
        webhooks = Webhooks()
        webhooks.start()
        control = Control(
            record=record,
            plan=plan,
            apns_keys=apns_keys,
            fcm_keys=fcm_keys,
            on_faults=listeners.faults_changed,
            webhooks=webhooks,
        )
        await listeners.start_push(
            sockets,
            apns=Apns(Judge("apns", plan), record, ProviderTokens(apns_keys)),
            fcm=Fcm(Judge("fcm", plan), record, tokens),
        )
        await listeners.start_web(
            sockets["web"],
            token=TokenEndpoint(fcm_keys, tokens),
            sendgrid=SendGrid(Judge("sendgrid", plan), record, webhooks),
            twilio=Twilio(Judge("twilio", plan), record, webhooks),
            others={name: web.stand_in(name).build(Judge(name, plan), record, webhooks) for name in web.names()},
        )
        await listeners.start_smtp(sockets["smtp"], sockets["smtps"], SmtpHandler(Judge("smtp", plan), record))
        bound = {name: int(opened.getsockname()[1]) for name, opened in sockets.items()}
        control.addresses = SandboxAddresses.at(bound, certificates.ca_file)
        config = uvicorn.Config(
            control.app(), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        control_server = ControlServer(config)
        running = asyncio.create_task(control_server.serve(sockets=[sockets["control"]]))
        try:
            while not control_server.started and not running.done():  # noqa: ASYNC110  # uvicorn offers a flag, no event
                await asyncio.sleep(0.005)
            control.addresses.write(addresses_file)
            ready(control.addresses)
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                stopping.cancel()
                raise SandboxError("the control server ended by itself: see its error above, then start anew")
        finally:
            _retire(addresses_file, former_file)
            control_server.should_exit = True
            await listeners.close()
            await webhooks.close()
            await running


def main(argv: Sequence[str]) -> int:
    """Run the sandbox until SIGTERM or SIGINT; 0 after a clean stop, 2 when it can't start."""
    parser = argparse.ArgumentParser(prog="python -m messaging.local.sandbox", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="files go to its folder `sandbox`")
    parser.add_argument("--ports-file", type=Path, help=f"JSON object of ports: {', '.join(PORT_NAMES)}")
    options = parser.parse_args(argv)
    try:
        ports = None if options.ports_file is None else json.loads(options.ports_file.read_text())
        asyncio.run(_run(options.data_dir / "sandbox", ports))
    except (PortsError, SandboxError, OSError, json.JSONDecodeError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    return 0


async def _run(directory: Path, ports: Mapping[str, int] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A busy server makes short-lived objects by the thousand, and cycles only per connection.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await serve(directory, ports=ports, ready=_announce, stop=stop)


def _announce(addresses: SandboxAddresses) -> None:
    for name, address in addresses.as_json().items():
        print(f"{name:10} {address}", flush=True)


def _bind(wanted: Mapping[str, int], former: Mapping[str, int]) -> Iterator[tuple[str, socket.socket]]:
    for name in PORT_NAMES:
        if name in wanted:
            try:
                yield name, _listen(wanted[name])
            except OSError as error:
                raise SandboxError(f"port {wanted[name]} for {name} can't be had ({error}): choose another") from error
            continue
        before = former.get(name)
        try:
            yield name, _listen(before if before is not None and take(before) else free_ports(1)[0])
        except OSError:  # somebody has it by now
            yield name, _listen(0)


def _listen(port: int) -> socket.socket:
    # with its protocol named, or asyncio leaves Nagle's algorithm on
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((HOST, port))
        opened.listen()  # else another sandbox that starts now could bind it too
        opened.setblocking(False)  # noqa: FBT003  # the name says what the flag means
    except OSError:
        opened.close()
        raise
    return opened


def _retire(addresses_file: Path, former_file: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        addresses_file.replace(former_file)


def _secret(path: Path) -> bytes:
    """The key of our bearer tokens: made once, readable by us alone."""
    with contextlib.suppress(FileExistsError):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, secrets.token_bytes(32))
        finally:
            os.close(file)
    return path.read_bytes()
