"""AWS Signature Version 4, from the side that checks it."""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from messaging.local.sandbox.exchange import Request

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
_TOLERANCE_S = 300
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


class SignatureRefusedError(Exception):
    """AWS's name for what is wrong, and its words."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a request, and for which region."""

    key_id: str
    region: str


def check(request: Request, prefix: str, secret_of: Callable[[str], str | None], now: datetime) -> Signer:
    """Who signed `request`, whose path the sender knows with `prefix` before it; raises SignatureRefusedError."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
    if "authorization" not in headers:
        raise SignatureRefusedError("MissingAuthenticationTokenException", "Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(headers["authorization"])
    if found is None:
        raise SignatureRefusedError("IncompleteSignatureException", "Authorization header can't be read.")
    key_id, day, region, service, names, signature = found.groups()
    secret = secret_of(key_id)
    if secret is None:
        text = "The security token included in the request is invalid."
        raise SignatureRefusedError("UnrecognizedClientException", text)
    if service != "ses":
        text = f"Credential should be scoped to correct service: 'ses', not '{service}'."
        raise SignatureRefusedError("InvalidSignatureException", text)
    stamp = headers.get("x-amz-date", "")
    _check_date(stamp, day, now)
    signed = names.split(";")
    if not {"host", "x-amz-date"} <= set(signed) or not set(signed) <= headers.keys() or signed != sorted(signed):
        raise SignatureRefusedError("IncompleteSignatureException", "'Host' and 'X-Amz-Date' must be signed headers.")
    path, _, query = f"{prefix}{request.path}".partition("?")
    lines = [request.method, quote(path, safe="/~"), "&".join(sorted(query.split("&"))) if query else ""]
    lines += [f"{name}:{' '.join(headers[name].split())}" for name in signed]
    lines += ["", names, hashlib.sha256(request.body).hexdigest()]
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(key.hex(), signature):
        raise SignatureRefusedError("InvalidSignatureException", _MISMATCH)
    return Signer(key_id, region)


def _check_date(stamp: str, day: str, now: datetime) -> None:
    try:
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise SignatureRefusedError("IncompleteSignatureException", "X-Amz-Date can't be read.") from None
    if stamp[:8] != day:
        raise SignatureRefusedError("InvalidSignatureException", "Date in Credential scope does not match X-Amz-Date.")
    late_s = (now - at).total_seconds()
    said = f"{now:%Y%m%dT%H%M%SZ}"
    if late_s > _TOLERANCE_S:
        raise SignatureRefusedError(
            "InvalidSignatureException", f"Signature expired: {stamp} is now earlier than {said}"
        )
    if late_s < -_TOLERANCE_S:
        text = f"Signature not yet current: {stamp} is still later than {said}"
        raise SignatureRefusedError("InvalidSignatureException", text)
