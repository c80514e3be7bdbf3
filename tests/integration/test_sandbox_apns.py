"""The sandbox as Apple's push service, driven by httpx and by h2 itself."""

import json
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import httpx
import jwt
import pytest
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame

from messaging.local.sandbox.credentials import apns_credentials
from messaging.local.sandbox.server import SandboxAddresses
from messaging.local.sandbox.threaded import sandbox_in_thread

PATIENCE_S = 60.0
"""For whatever is answered at all: a busy machine may stand still for seconds."""
UNANSWERED = httpx.Timeout(PATIENCE_S, read=0.3)
"""For what is not answered: connecting, with its handshake, has time."""
DEVICE = "ab" * 32
BODY = {"aps": {"alert": {"title": "Order 17", "body": "Ready"}}}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAddresses]:
    """A running sandbox."""
    with sandbox_in_thread(tmp_path_factory.mktemp("apns")) as addresses:
        yield addresses


@pytest.fixture(autouse=True)
def _no_faults(sandbox: SandboxAddresses) -> Iterator[None]:
    yield
    httpx.delete(f"{sandbox.control}/faults", timeout=PATIENCE_S).raise_for_status()


@pytest.fixture(scope="module")
def headers(sandbox: SandboxAddresses) -> dict[str, str]:
    """Headers with a good provider token."""
    return {"authorization": f"bearer {provider_token(sandbox)}", "apns-topic": "com.example.app"}


@pytest.fixture
def client(sandbox: SandboxAddresses) -> Iterator[httpx.Client]:
    """An HTTP/2 client that trusts the sandbox."""
    with httpx.Client(http2=True, verify=trust(sandbox), base_url=sandbox.apns, timeout=PATIENCE_S) as client:
        yield client


def trust(sandbox: SandboxAddresses) -> ssl.SSLContext:
    """A client context for the sandbox's authority."""
    return ssl.create_default_context(cafile=sandbox.ca_file)


def provider_token(sandbox: SandboxAddresses, *, age_s: int = 0) -> str:
    """A token of a fresh, registered key."""
    credentials = apns_credentials(sandbox.control)
    claims = {"iss": credentials["teamId"], "iat": int(time.time()) - age_s}
    return jwt.encode(claims, credentials["authKey"], "ES256", headers={"kid": credentials["authKeyId"]})


def faults(sandbox: SandboxAddresses, **values: float) -> None:
    """Put faults of APNs in force."""
    body = {"protocol": "apns", **values}
    httpx.post(f"{sandbox.control}/faults", json=body, timeout=PATIENCE_S).raise_for_status()


def recorded(sandbox: SandboxAddresses, recipient: str) -> list[dict[str, Any]]:
    """The record's lines of one device."""
    text = httpx.get(f"{sandbox.control}/record", params={"protocol": "apns"}, timeout=PATIENCE_S).text
    return [line for line in map(json.loads, text.splitlines()) if line["recipient"] == recipient]


def test_a_push_is_accepted_and_recorded_with_its_content(
    sandbox: SandboxAddresses, client: httpx.Client, headers: dict[str, str]
) -> None:
    """200, the caller's apns-id, an empty body; the record has headers and payload."""
    tag = str(uuid.uuid4())
    device = uuid.uuid4().hex
    extra = {"apns-id": tag, "apns-priority": "5", "apns-expiration": "1800000000", "apns-collapse-id": "c"}
    answer = client.post(f"/3/device/{device}", headers=headers | extra, json=BODY)
    assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, b"")
    assert answer.headers["apns-id"] == tag
    (line,) = recorded(sandbox, device)
    assert (line["outcome"], line["status"], line["tag"], line["id"]) == ("accepted", 200, tag, tag)
    assert line["payload"] == BODY
    assert line["about"] == {
        "topic": "com.example.app",
        "priority": "5",
        "expiration": "1800000000",
        "collapse_id": "c",
    }


def test_an_id_is_made_where_the_caller_gives_none(client: httpx.Client, headers: dict[str, str]) -> None:
    """The generated apns-id is an upper-case UUID."""
    made = client.post(f"/3/device/{DEVICE}", headers=headers, json=BODY).headers["apns-id"]
    assert str(uuid.UUID(made)).upper() == made


@pytest.mark.parametrize(
    ("path", "changed", "body", "status", "reason"),
    [
        ("/4/device/ab", {}, BODY, 404, "BadPath"),
        ("/3/device/", {}, BODY, 400, "MissingDeviceToken"),
        ("/3/device/xyz", {}, BODY, 400, "BadDeviceToken"),
        (f"/3/device/{DEVICE}", {"authorization": ""}, BODY, 403, "MissingProviderToken"),
        (f"/3/device/{DEVICE}", {"authorization": "bearer a.b.c"}, BODY, 403, "InvalidProviderToken"),
        (f"/3/device/{DEVICE}", {"apns-topic": "com/example"}, BODY, 400, "BadTopic"),
        (f"/3/device/{DEVICE}", {"apns-push-type": "shout"}, BODY, 400, "InvalidPushType"),
        (f"/3/device/{DEVICE}", {"apns-priority": "7"}, BODY, 400, "BadPriority"),
        (f"/3/device/{DEVICE}", {"apns-push-type": "background", "apns-priority": "10"}, BODY, 400, "BadPriority"),
        (f"/3/device/{DEVICE}", {"apns-expiration": "soon"}, BODY, 400, "BadExpirationDate"),
        (f"/3/device/{DEVICE}", {"apns-id": "17"}, BODY, 400, "BadMessageId"),
        (f"/3/device/{DEVICE}", {"apns-collapse-id": "c" * 65}, BODY, 400, "BadCollapseId"),
        (f"/3/device/{DEVICE}", {}, {}, 400, "PayloadEmpty"),
        (f"/3/device/{DEVICE}", {}, {"aps": {"alert": "x" * 4096}}, 413, "PayloadTooLarge"),
        ("/3/device/dead0410" + "0" * 56, {}, BODY, 410, "Unregistered"),
        ("/3/device/dead0429" + "0" * 56, {}, BODY, 429, "TooManyRequests"),
        ("/3/device/dead0503" + "0" * 56, {}, BODY, 503, "ServiceUnavailable"),
    ],
)
def test_refusals_have_apples_status_and_reason(
    client: httpx.Client,
    headers: dict[str, str],
    path: str,
    changed: dict[str, str],
    body: dict[str, Any],
    status: int,
    reason: str,
) -> None:
    """Each broken rule is answered by the row of Apple's table."""
    answer = client.post(path, headers=headers | changed, json=body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert ("timestamp" in answer.json()) == (status == 410)


def test_a_missing_topic_a_repeated_header_and_another_method(client: httpx.Client, headers: dict[str, str]) -> None:
    """Three refusals that no changed value shows."""
    path = f"/3/device/{DEVICE}"
    alone = {"authorization": headers["authorization"]}
    assert client.post(path, headers=alone, json=BODY).json() == {"reason": "MissingTopic"}
    repeated = [*headers.items(), ("apns-topic", "com.example.other")]
    assert client.post(path, headers=repeated, json=BODY).json() == {"reason": "DuplicateHeaders"}
    assert client.get(path, headers=headers).json() == {"reason": "MethodNotAllowed"}


def test_an_old_token_has_expired(sandbox: SandboxAddresses, client: httpx.Client) -> None:
    """61 minutes are too many, though the signature is good."""
    old = {"authorization": f"bearer {provider_token(sandbox, age_s=3660)}", "apns-topic": "a"}
    answer = client.post(f"/3/device/{DEVICE}", headers=old, json=BODY)
    assert (answer.status_code, answer.json()["reason"]) == (403, "ExpiredProviderToken")


def test_a_connection_belongs_to_one_key(
    sandbox: SandboxAddresses, client: httpx.Client, headers: dict[str, str]
) -> None:
    """A second key on a connection is UnrelatedKeyIdInToken."""
    other = {"authorization": f"bearer {provider_token(sandbox)}", "apns-topic": "a"}
    assert client.post(f"/3/device/{DEVICE}", headers=headers, json=BODY).status_code == 200
    answer = client.post(f"/3/device/{DEVICE}", headers=other, json=BODY)
    assert (answer.status_code, answer.json()["reason"]) == (403, "UnrelatedKeyIdInToken")


@pytest.mark.parametrize(
    ("prefix", "outcome"),
    [("dead0001", "unanswered"), ("dead0002", "unanswered"), ("dead0003", "unanswered"), ("dead0004", "accepted")],
)
def test_resets_and_drops_leave_no_answer(
    sandbox: SandboxAddresses, client: httpx.Client, headers: dict[str, str], prefix: str, outcome: str
) -> None:
    """The client sees the connection or stream go; the record knows whether the push was taken."""
    device = prefix + uuid.uuid4().hex
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post(f"/3/device/{device}", headers=headers, json=BODY)
    assert [line["outcome"] for line in recorded(sandbox, device)] == [outcome]


def test_silence_ends_in_the_clients_timeout_and_spares_other_streams(
    sandbox: SandboxAddresses, client: httpx.Client, headers: dict[str, str]
) -> None:
    """A push that is never answered doesn't hold up the next one."""
    silent = "dead0000" + uuid.uuid4().hex
    with pytest.raises(httpx.ReadTimeout):
        client.post(f"/3/device/{silent}", headers=headers, json=BODY, timeout=UNANSWERED)
    assert client.post(f"/3/device/{DEVICE}", headers=headers, json=BODY).status_code == 200
    assert [line["outcome"] for line in recorded(sandbox, silent)] == ["unanswered"]


def test_rates_hit_the_same_devices_again_with_the_same_seed(
    sandbox: SandboxAddresses, client: httpx.Client, headers: dict[str, str]
) -> None:
    """A seed can be replayed; the rate is about what was asked, and the delay to wait is told."""
    devices = [uuid.uuid5(uuid.NAMESPACE_DNS, str(number)).hex for number in range(200)]

    def run() -> list[httpx.Response]:
        faults(sandbox, rate_429=0.3, retry_after_s=2, seed=11)
        return [client.post(f"/3/device/{device}", headers=headers, json=BODY) for device in devices]

    first, second = run(), run()
    assert [answer.status_code for answer in first] == [answer.status_code for answer in second]
    throttled = [answer for answer in first if answer.status_code == 429]
    assert 30 < len(throttled) < 90
    assert throttled[0].headers["retry-after"] == "2"


def test_a_delay_is_kept(sandbox: SandboxAddresses, client: httpx.Client, headers: dict[str, str]) -> None:
    """`delay_ms` is the least an answer takes."""
    faults(sandbox, delay_ms=150)
    start = time.monotonic()
    assert client.post(f"/3/device/{DEVICE}", headers=headers, json=BODY).status_code == 200
    assert time.monotonic() - start >= 0.15


# ---------------------------------------------------------------------------- below httpx: frames


class Peer:
    """An HTTP/2 client on h2 that shows every event."""

    def __init__(self, sandbox: SandboxAddresses, headers: dict[str, str]) -> None:
        context = trust(sandbox)
        context.set_alpn_protocols(["h2"])
        port = int(sandbox.apns.rpartition(":")[2])
        self.socket = context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S), server_hostname="127.0.0.1"
        )
        self.headers = headers
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.socket.sendall(self.h2.data_to_send())
        self.events: list[h2.events.Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def push(self, count: int) -> list[int]:
        """Open so many streams with one write; their ids."""
        opened = []
        for _ in range(count):
            stream_id = self.h2.get_next_available_stream_id()
            names = {":method": "POST", ":scheme": "https", ":authority": "x", ":path": f"/3/device/{DEVICE}"}
            self.h2.send_headers(stream_id, list((names | self.headers).items()))
            self.h2.send_data(stream_id, json.dumps(BODY).encode(), end_stream=True)
            opened.append(stream_id)
        self.socket.sendall(self.h2.data_to_send())
        return opened

    def read_until(self, enough: "type[h2.events.Event] | int") -> None:
        """Read until such an event, or so many answers, have come; the socket's timeout is the deadline."""
        while not self._has(enough):
            data = self.socket.recv(65536)
            if not data:
                return
            self.events += self.h2.receive_data(data)
            waiting = self.h2.data_to_send()
            if waiting:
                self.socket.sendall(waiting)

    def answered(self) -> set[int]:
        """Streams with a complete answer."""
        return {event.stream_id for event in self.events if isinstance(event, h2.events.StreamEnded)}

    def _has(self, enough: "type[h2.events.Event] | int") -> bool:
        if isinstance(enough, int):
            return len(self.answered()) >= enough
        return any(isinstance(event, enough) for event in self.events)


def test_goaway_names_the_last_stream_and_answers_up_to_it(sandbox: SandboxAddresses, headers: dict[str, str]) -> None:
    """Streams up to the last id are answered, in spite of a delay; later ones are neither answered nor taken."""
    faults(sandbox, goaway_after=3, delay_ms=100)
    with Peer(sandbox, headers) as peer:
        before = peer.push(3)
        # Read frame by frame: h2's client refuses what comes after a GOAWAY, and answers may come in one piece with it.
        answered: list[int] = []
        ends: list[GoAwayFrame] = []
        for frame in frames(peer.socket):
            if isinstance(frame, HeadersFrame):
                answered.append(frame.stream_id)
            elif isinstance(frame, GoAwayFrame):
                ends.append(frame)
            if len(answered) == 3 and ends:
                break
        (goaway,) = ends
        assert (goaway.error_code, goaway.last_stream_id) == (h2.errors.ErrorCodes.NO_ERROR, before[-1])
        assert sorted(answered) == before


def frames(connection: socket.socket) -> Iterator[Frame]:
    """The frames that come until the connection ends; the socket's timeout is the deadline."""
    data = b""
    while more := connection.recv(65536):
        data += more
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3]):
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            frame.parse_body(memoryview(data[9 : 9 + length]))
            yield frame
            data = data[9 + length :]


def test_streams_are_limited_in_mid_flight(sandbox: SandboxAddresses, headers: dict[str, str]) -> None:
    """A lowered MAX_CONCURRENT_STREAMS reaches open connections at once, and what is in flight is answered."""
    faults(sandbox, delay_ms=300)
    with Peer(sandbox, headers) as peer:
        peer.read_until(h2.events.RemoteSettingsChanged)
        assert peer.h2.remote_settings.max_concurrent_streams == 1000
        in_flight = peer.push(60)
        peer.events.clear()
        faults(sandbox, delay_ms=300, max_concurrent_streams=1)
        peer.read_until(h2.events.RemoteSettingsChanged)
        assert peer.h2.remote_settings.max_concurrent_streams == 1
        peer.read_until(60)
        assert peer.answered() == set(in_flight)
        peer.push(1)
        peer.read_until(61)
    httpx.delete(f"{sandbox.control}/faults", timeout=PATIENCE_S).raise_for_status()


def test_a_client_without_http2_is_turned_away(sandbox: SandboxAddresses) -> None:
    """APNs speaks HTTP/2 only."""
    with pytest.raises(httpx.TransportError), httpx.Client(verify=trust(sandbox)) as client:
        client.post(f"{sandbox.apns}/3/device/{DEVICE}")


def test_keys_may_be_registered_by_file(sandbox: SandboxAddresses, client: httpx.Client) -> None:
    """A key written to apns_keys.json is trusted like one sent to the control address."""
    file = Path(sandbox.ca_file).parent / "apns_keys.json"
    credentials = apns_credentials(sandbox.control)
    keys = json.loads(file.read_text())
    keys["FILETEAM01/FILEKEY001"] = keys[f"{credentials['teamId']}/{credentials['authKeyId']}"]
    file.write_text(json.dumps(keys))
    claims = {"iss": "FILETEAM01", "iat": int(time.time())}
    token = jwt.encode(claims, credentials["authKey"], "ES256", headers={"kid": "FILEKEY001"})
    answer = client.post(
        f"/3/device/{DEVICE}", headers={"authorization": f"bearer {token}", "apns-topic": "a"}, json=BODY
    )
    assert answer.status_code == 200
