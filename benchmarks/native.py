"""A native server that answers as APNs and as FCM do: HAProxy, one thread, its processor time and requests counted.

A device's request is answered 200 with its `apns-id`, FCM's 200 with a message name of its own. It reads the whole
body first, allows 1,000 streams at once and windows of 65,535 bytes, as the real ones do. `POST /token` is Google's
token endpoint, over HTTP/1.1 too.
"""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.processes import cpu_s
from messaging.local.free_ports import free_ports

PACKAGE = "haproxy"
_START_S = 10.0
_TOKEN = "ya29." + "e" * 220  # as long as Google's

_CONFIGURATION = """
global
  nbthread 1
  maxconn 400
  tune.h2.max-concurrent-streams 1000
  tune.h2.initial-window-size 65535
defaults
  mode http
  timeout client 1h
  timeout http-request 1h
  timeout http-keep-alive 1h
frontend provider
  bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1
{rules}
  http-request wait-for-body time 10s
  http-request return status 200 hdr apns-id %[req.hdr(apns-id)] if {{ path_beg /3/device/ }}
  http-request return status 200 content-type application/json lf-string '{{"name":"projects/demo/messages/%[uuid()]"}}' if {{ path_beg /v1/projects/ }}
  http-request return status 200 content-type application/json string '{{"access_token":"{token}","expires_in":3600,"token_type":"Bearer"}}' if METH_POST {{ path /token }}
  http-request return status 404
frontend counts
  bind 127.0.0.1:{counts_port}
  stats enable
  stats uri /
"""  # noqa: E501  HAProxy knows no line continuation


@dataclass(frozen=True)
class NativeServer:
    """Where it listens and what it has done."""

    origin: str
    ca_file: Path
    pid: int
    counts_url: str

    def requests(self) -> int:
        """Requests answered so far; asking costs a millisecond, so one may ask often."""
        place = urlsplit(self.counts_url)
        with contextlib.closing(HTTPConnection(place.netloc, timeout=_START_S)) as connection:
            connection.request("GET", place.path)
            answer = connection.getresponse().read().decode()
        rows = csv.DictReader(answer.removeprefix("# ").splitlines())
        return int(next(row["req_tot"] for row in rows if row["pxname"] == "provider" and row["svname"] == "FRONTEND"))

    def cpu_s(self) -> float:
        """Processor seconds it has used."""
        return cpu_s(self.pid)


def program() -> str:
    """Where HAProxy is; ends with what to install where it is not."""
    found = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        raise SystemExit(f"The benchmark needs HAProxy: apt-get install --no-install-recommends {PACKAGE}")
    return found


@contextlib.contextmanager
def native_server(key_file: Path, cert_file: Path, *, rules: str = "") -> Iterator[NativeServer]:
    """One that runs, with this certificate; `rules` (HAProxy's) come before its own."""
    port, counts_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="heliograph-native-") as name:
        pem, configuration = Path(name) / "server.pem", Path(name) / "haproxy.cfg"
        pem.write_bytes(key_file.read_bytes() + cert_file.read_bytes())
        places = {"port": port, "counts_port": counts_port, "pem": pem}
        configuration.write_text(_CONFIGURATION.format(**places, rules=rules, token=_TOKEN))
        with subprocess.Popen([program(), "-db", "-q", "-f", str(configuration)]) as process:
            try:
                found = NativeServer(
                    f"https://127.0.0.1:{port}", cert_file, process.pid, f"http://127.0.0.1:{counts_port}/;csv"
                )
                _wait(found, process)
                yield found
            finally:
                process.terminate()


def _wait(found: NativeServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            found.requests()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("HAProxy did not start; what it printed says why.") from None
            time.sleep(0.05)
        else:
            return
