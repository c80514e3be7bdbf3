"""Accounts at the stand-ins of a stack that `messaging up --sandbox` has started.

`python -m messaging.local.sandbox_providers` adds one of each usual kind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from messaging.client.messaging import Messaging
from messaging.errors import MessagingError, SettingsError
from messaging.local.demo_people import add_providers
from messaging.local.runtime import FILE_NAME, read_runtime


def main(argv: Sequence[str] | None = None) -> int:
    """Add one account of each usual kind and print them; 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m messaging.local.sandbox_providers", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where the stack keeps its data")
    directory = parser.parse_args(argv).data_dir
    try:
        with Messaging.from_runtime(directory) as messaging:
            runtime = read_runtime(directory)
            if runtime.sandbox is None:
                raise SettingsError(
                    f"The stack in {directory / FILE_NAME} has no stand-ins: start it with `messaging up --sandbox`."
                )
            for kind in add_providers(messaging, runtime.sandbox, runtime.endpoint):
                print(f"{kind:<9} {messaging.providers.get(kind).channel}")
    except MessagingError as error:
        print(f"sandbox_providers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
