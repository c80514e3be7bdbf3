"""Asking the stand-ins for the providers what they received."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from messaging.errors import MessagingError

_TIMEOUT_S = 5


class SandboxError(MessagingError):
    """The stand-ins do not answer. Is the stack up? `messaging up --sandbox` starts them with it."""

    code = "sandbox_away"


def read(
    url: str, *, channel: str = "", recipient: str = "", limit: int = 50, offset: int = 0
) -> Sequence[Mapping[str, Any]]:
    """What readers see, newest first; raises `SandboxError`."""
    said = {"limit": limit, "offset": offset, "channel": channel, "recipient": recipient}
    asked = urlencode({name: value for name, value in said.items() if value})
    opener = build_opener(ProxyHandler({}))  # it is a server of ours, whatever the environment's proxies are for
    try:
        with opener.open(f"{url}/inbox?{asked}", timeout=_TIMEOUT_S) as answer:
            found = json.load(answer)["messages"]
    except (URLError, OSError, ValueError, KeyError) as error:
        raise SandboxError(f"The stand-ins at {url} do not answer ({type(error).__name__}). Is the stack up?") from None
    return [each for each in found if isinstance(each, dict)]
