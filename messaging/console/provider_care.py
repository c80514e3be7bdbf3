"""What is done for an account: checks that move, a test message, starting it again, its receipts."""

from __future__ import annotations

from messaging.console.answers import Answer, Done, Page
from messaging.console.pages import Pages
from messaging.console.providers import shown_again
from messaging.console.visit import Visit
from messaging.errors import InvalidArgumentError
from messaging.store.operators import OperatorRole

pages = Pages()


@pages.post("/p/{project}/providers/{provider}/checks", action="provider.check", role=OperatorRole.ADMIN)
def check(visit: Visit) -> Answer:
    """Have a worker ask the provider, and send a real message where an address is given."""
    provider_id, send_to = visit.places["provider"], visit.text("send_to")
    try:
        begun = visit.messaging.providers.check(provider_id, send_to=send_to or None)
    except InvalidArgumentError as error:
        return shown_again(visit, error, send_to=send_to)
    return Done(
        f"{visit.home}/providers/{provider_id}/checks/{begun.id}",
        subject=provider_id,
        details={"check": begun.id, "sends": bool(send_to)},
    )


@pages.get("/p/{project}/providers/{provider}/checks/{check}")
def show_check(visit: Visit) -> Answer:
    """A check, as far as it has come; for htmx, its steps."""
    found = visit.messaging.providers.get_check(visit.places["provider"], visit.places["check"])
    if visit.is_partial:
        return Page("provider_check_steps.html", {"check": found})
    provider = visit.messaging.providers.get(visit.places["provider"])
    return Page("provider_check.html", {"check": found, "provider": provider})


@pages.post("/p/{project}/providers/{provider}/start", action="provider.start", role=OperatorRole.ADMIN)
def start(visit: Visit) -> Answer:
    """Let a stopped account work again."""
    account = visit.messaging.providers.start(visit.places["provider"])
    notice = f"{account.name} works again. What waits for it follows within half a minute."
    return Done(f"{visit.home}/providers/{account.id}", notice, account.id)


@pages.post("/p/{project}/providers/{provider}/receipts", action="provider.retry_receipts", role=OperatorRole.ADMIN)
def retry_receipts(visit: Visit) -> Answer:
    """Look again at what was put aside."""
    provider_id = visit.places["provider"]
    again = visit.messaging.providers.retry_receipts(provider_id)
    notice = f"{again:,} receipts are looked at again."
    return Done(f"{visit.home}/providers/{provider_id}", notice, provider_id, {"receipts": again})
