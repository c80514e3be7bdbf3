"""The command line: `messaging --help`. Each command imports what it needs, so that help comes at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from messaging.cli import (
    connection,
    doctor,
    health,
    inbox,
    message,
    messages,
    operator,
    overview,
    preview,
    project,
    provider,
    provider_care,
    quarantine,
    secrets,
    send,
    stack,
    subscribe,
    suppress,
    tail,
    target,
    topic,
    user,
)
from messaging.errors import MessagingError, NotFoundError

DONE, FAILED, WRONG_USAGE, NOT_FOUND = 0, 1, 2, 3
"""Exit codes. Wrong usage is typer's own."""

app = typer.Typer(
    name="messaging",
    help="Send push, email and SMS, and see what became of every recipient.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def choose(
    *,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            help="Which project; else MESSAGING_PROJECT, else the stack's own. Goes before the command.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send push, email and SMS, and see what became of every recipient."""
    connection.project.set(project)


stack.register(app)
doctor.register(app)
health.register(app)
provider_care.register(provider.app)
app.add_typer(provider.app, name="provider", help="Accounts at the providers of push, email and SMS.")
app.add_typer(user.app, name="user", help="People.")
app.add_typer(target.app, name="target", help="Addresses: device tokens, email addresses, phone numbers.")
app.add_typer(topic.app, name="topic", help="Named gatherings of targets.")
subscribe.register(app)
app.add_typer(send.app, name="send", help="Send a push, an email or an SMS.")
app.add_typer(preview.app, name="preview", help="What a text would take, before it is sent.")
overview.register(app)
message.register(app)
app.add_typer(messages.app, name="message", help="Messages and their recipients.")
tail.register(app)
inbox.register(app)
app.add_typer(quarantine.app, name="quarantine", help="What ended its workers and was put aside.")
app.add_typer(secrets.app, name="secrets", help="The key that secrets at rest are kept under.")
app.add_typer(suppress.app, name="suppress", help="Addresses that must not be written to.")
app.add_typer(project.app, name="project", help="Tenants: each with people, providers and messages of its own.")
operator.register(app)
app.add_typer(project.keys, name="key", help="API keys of the project.")


def main() -> None:
    """Run the command line. 0: done, 1: failed with one line on stderr, 2: wrong usage, 3: no such thing."""
    try:
        app(prog_name="messaging")
    except NotFoundError as error:
        _fail(str(error), NOT_FOUND)
    except MessagingError as error:
        _fail(str(error))
    except TimeoutError as error:
        _fail(str(error))
    except BrokenPipeError:
        # the reader of our output (`head`) has gone: nothing is wrong, and nothing can be printed any more
        sys.stdout = None
        sys.exit(DONE)
    except OSError as error:
        _fail(f"{error.filename or 'input'}: {error.strerror or error}. Check the path and its owner.")
    except Exception as error:
        from sqlalchemy.exc import OperationalError, ProgrammingError

        if isinstance(error, OperationalError):
            _fail(
                f"Can't reach the database: {_first_line(error.orig)}. Is it running? Start it, or check the address."
            )
        if isinstance(error, ProgrammingError) and "does not exist" in str(error.orig):
            _fail(f"The database has no tables yet ({_first_line(error.orig)}). Run `messaging migrate`.")
        raise


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _fail(sentence: str, code: int = FAILED) -> None:
    print(f"messaging: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
