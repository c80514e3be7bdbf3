"""Requests as the Kotlin and Swift SDKs put them on the wire, byte for byte where it could matter.

Both take a server's key or, on a device, keep the session's cookie. From their sources: sdk-for-kotlin and
sdk-for-android (OkHttp, Gson), sdk-for-swift and sdk-for-apple (AsyncHTTPClient, JSONSerialization).
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from tests.integration.http.api import PATIENCE_S

Params = Mapping[str, Any]
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def json(self) -> Any:
        """The body, which must say that it is JSON."""
        assert "application/json" in self.headers.get("content-type", ""), self.content
        return json.loads(self.content)


class Dialect(Protocol):
    """How an SDK writes a request."""

    def query(self, params: Params) -> str:
        """The query string, without `?`."""

    def headers(self, method: str) -> Headers:
        """What goes with every request of that method."""

    def body(self, params: Params) -> str:
        """The JSON of a request that is no GET."""


@dataclass(frozen=True, kw_only=True)
class Kotlin:
    """`io.appwrite:sdk-for-kotlin`, or its sister for Android."""

    android: bool = False

    def query(self, params: Params) -> str:
        """A list is repeated under `name[]`; everything that is no letter or digit is escaped."""
        return "&".join(f"{quote(name, safe='')}={quote(text, safe='')}" for name, text in _flat(params))

    def headers(self, method: str) -> Headers:
        """The content type stands there twice for a GET; with a body OkHttp puts its own instead."""
        who = (
            [
                ("origin", "appwrite-android://com.example.app"),
                ("user-agent", "com.example.app/1.0, Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A)"),
                ("x-sdk-name", "Android"),
                ("x-sdk-platform", "client"),
                ("x-sdk-language", "android"),
            ]
            if self.android
            else [
                ("user-agent", "AppwriteKotlinSDK/14.1.0 null"),
                ("x-sdk-name", "Kotlin"),
                ("x-sdk-platform", "server"),
                ("x-sdk-language", "kotlin"),
            ]
        )
        kinds = ["application/json"] * 2 if method == "GET" else ["application/json; charset=utf-8"]
        return [
            *who,
            ("x-sdk-version", "14.1.0"),
            ("x-appwrite-response-format", "1.8.0"),
            *(("content-type", kind) for kind in kinds),
            ("accept", "application/json"),
            ("accept-encoding", "gzip"),
            ("connection", "Keep-Alive"),
        ]

    def body(self, params: Params) -> str:
        """Gson drops nulls and escapes what would matter in HTML."""
        text = json.dumps(params, ensure_ascii=False, separators=(",", ":"))
        for character in "<>&='":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text


@dataclass(frozen=True, kw_only=True)
class Swift:
    """`sdk-for-swift` on Linux, or `sdk-for-apple` on a device."""

    apple: bool = False

    def query(self, params: Params) -> str:
        """The whole string is escaped at once, so that brackets, colons and commas stay as they are."""
        text = "&".join(f"{name}={value}" for name, value in _flat(params))
        return quote(text, safe="!$&'()*+,:;=[]~")

    def headers(self, _method: str) -> Headers:
        """One content type for everything, and an origin that is no web page's."""
        who = (
            [
                ("origin", "appwrite-ios://com.example.app"),
                ("user-agent", "com.example.app/1.0 iPhone15,2 iOS/18.1"),
                ("x-sdk-name", "Apple"),
                ("x-sdk-platform", "client"),
                ("x-sdk-language", "apple"),
            ]
            if self.apple
            else [
                ("origin", "appwrite-linux://"),
                ("x-sdk-name", "Swift"),
                ("x-sdk-platform", "server"),
                ("x-sdk-language", "swift"),
            ]
        )
        return [
            *who,
            ("content-type", "application/json"),
            ("x-sdk-version", "9.2.0"),
            ("x-appwrite-response-format", "1.7.0"),
        ]

    def body(self, params: Params) -> str:
        """JSONSerialization keeps no order and escapes the slash."""
        shuffled = dict(sorted(params.items(), key=lambda item: item[0][::-1]))
        return json.dumps(shuffled, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")


def _flat(params: Params) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, list):
            found += [(f"{name}[]", str(item)) for item in value]
        else:
            found.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return found


@dataclass(kw_only=True)
class Mobile:
    """One client of an SDK: it adds what is set on it and keeps cookies, as the SDKs do."""

    endpoint: str
    dialect: Dialect
    headers: Headers
    cookies: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, **params: Any) -> Reply:
        """One request; parameters that are None are not sent."""
        given = {name: value for name, value in params.items() if value is not None}
        url = urlsplit(self.endpoint + path)
        target = url.path
        if method == "GET" and given:
            target += "?" + self.dialect.query(given)
        connection = http.client.HTTPConnection(url.netloc, timeout=PATIENCE_S)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (*self.dialect.headers(method), *self.headers):
                connection.putheader(name, value)
            if self.cookies:
                connection.putheader("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
            body = b"" if method == "GET" else self.dialect.body(given).encode()
            if method != "GET":
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            reply = Reply(status=answer.status, headers=answer.headers, content=answer.read())
        finally:
            connection.close()
        self._keep(reply)
        return reply

    def _keep(self, reply: Reply) -> None:
        for line in reply.headers.get_all("set-cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
