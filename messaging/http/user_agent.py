"""What a User-Agent header says of the client: system, program and device, as far as can be told.

Browsers freeze most of it (https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/User-agent_reduction), so it is
only ever shown to people. Codes are those of Matomo's device detector, which Appwrite shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST = 512

_VERSION = r"(\d+(?:[._]\d+){0,3})"
_SYSTEMS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("WIN", "Windows", re.compile(r"Windows(?: NT (\d+(?:\.\d+)?))?")),
    ("IOS", "iOS", re.compile(rf"(?:iPhone|iPad|iPod)(?:.{{0,64}}?OS {_VERSION})?")),
    ("AND", "Android", re.compile(rf"[Aa]ndroid(?:[ /]{_VERSION})?")),
    ("COS", "Chrome OS", re.compile(r"CrOS")),
    ("MAC", "Mac", re.compile(rf"Mac(?:intosh|OS| OS X)(?:.{{0,32}}?OS X {_VERSION})?")),
    ("LIN", "GNU/Linux", re.compile(r"[Ll]inux")),
)
# The first that matches: browsers name those they descend from behind themselves.
_PROGRAMS: tuple[tuple[str, str, str, re.Pattern[str]], ...] = (
    ("PS", "Microsoft Edge", "Blink", re.compile(rf"Edg(?:A|iOS)?/{_VERSION}")),
    ("OP", "Opera", "Blink", re.compile(rf"OPR/{_VERSION}")),
    ("SB", "Samsung Browser", "Blink", re.compile(rf"SamsungBrowser/{_VERSION}")),
    ("FF", "Firefox", "Gecko", re.compile(rf"(?:Firefox|FxiOS)/{_VERSION}")),
    ("CH", "Chrome", "Blink", re.compile(rf"(?:Headless)?(?:Chrome|CriOS)/{_VERSION}")),
    ("SF", "Safari", "WebKit", re.compile(rf"Version/{_VERSION}.{{0,64}}?Safari/")),
)
_LIBRARY = re.compile(rf"([A-Za-z][A-Za-z0-9._-]{{0,63}})/{_VERSION}")
_ANDROID_MODEL = re.compile(
    r"Android [\d.]+; (?:[a-z]{2}[-_][A-Za-z]{2}; )?([A-Za-z0-9][\w .()+-]{1,40}?)(?: Build/|\)|;)"
)
_BRANDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("Google", re.compile(r"Pixel|Nexus")),
    ("Samsung", re.compile(r"SM-|GT-|SAMSUNG|Galaxy")),
    ("Xiaomi", re.compile(r"Mi |Redmi|POCO|M2\d{3}")),
    ("OnePlus", re.compile(r"ONEPLUS|OnePlus")),
    ("Huawei", re.compile(r"HUAWEI|[A-Z]{3}-(?:L|AL|TL|NX)\d{2}")),
    ("Motorola", re.compile(r"moto|motorola")),
    ("Sony", re.compile(r"Sony|XQ-")),
    ("Nokia", re.compile(r"Nokia|TA-\d{4}")),
)


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client as its header describes it; what is unknown is empty."""

    os_code: str = ""
    os_name: str = ""
    os_version: str = ""
    type: str = ""
    """`browser` or `library`."""
    code: str = ""
    name: str = ""
    version: str = ""
    engine: str = ""
    device: str = ""
    """`smartphone`, `tablet` or `desktop`."""
    brand: str = ""
    model: str = ""

    @property
    def title(self) -> str:
        """The device as its owner would call it: `Apple iPhone`, else `Firefox on Windows`; may be empty."""
        if self.brand and self.model:
            return f"{self.brand} {self.model}"
        return self.model or " on ".join(part for part in (self.name, self.os_name) if part)


def parse_user_agent(header: str) -> Client:
    """The client that sent `header`."""
    header = header[:LONGEST]
    system, system_name, system_version = _system(header)
    kind, code, name, version, engine = _program(header)
    device, brand, model = _device(header, system)
    return Client(
        os_code=system,
        os_name=system_name,
        os_version=system_version,
        type=kind,
        code=code,
        name=name,
        version=version,
        engine=engine,
        device=device,
        brand=brand,
        model=model,
    )


def _system(header: str) -> tuple[str, str, str]:
    for code, name, pattern in _SYSTEMS:
        found = pattern.search(header)
        if found is not None:
            version = found[1] if pattern.groups and found[1] else ""
            return code, name, version.replace("_", ".")
    return "", "", ""


def _program(header: str) -> tuple[str, str, str, str, str]:
    for code, name, engine, pattern in _PROGRAMS:
        found = pattern.search(header)
        if found is not None:
            return "browser", code, name, found[1], engine
    found = _LIBRARY.match(header)
    if found is not None and found[1] != "Mozilla":
        return "library", "", found[1], found[2], ""
    return "", "", "", "", ""


def _device(header: str, system: str) -> tuple[str, str, str]:
    if system == "IOS":
        return ("tablet", "Apple", "iPad") if "iPad" in header else ("smartphone", "Apple", "iPhone")
    if system == "AND":
        found = _ANDROID_MODEL.search(header)
        model = found[1].strip() if found is not None else ""
        brand = next((name for name, pattern in _BRANDS if pattern.match(model)), "")
        return ("smartphone" if "Mobile" in header else "tablet"), brand, model
    if system == "MAC":
        return "desktop", "Apple", ""
    return ("desktop" if system else ""), "", ""
