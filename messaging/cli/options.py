"""Options and arguments that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from messaging.cli import completion

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Data directory of a running stack; else MESSAGING_* of the environment, else ./data.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many rows.")]
After = Annotated[
    str | None, typer.Option("--after", help="Go on after this id, the last of the page before.", show_default=False)
]
Word = Annotated[str | None, typer.Option(show_default=False)]
MessageId = Annotated[str, typer.Argument(help="Id of the message.", autocompletion=completion.messages)]
TopicId = Annotated[str, typer.Argument(help="Id of the topic.", autocompletion=completion.topics)]
ProviderId = Annotated[str, typer.Argument(help="Id of the provider.", autocompletion=completion.providers)]
