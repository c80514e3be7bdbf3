"""Operators: who may sign in here."""

from __future__ import annotations

from messaging.console.answers import Answer, Done, Page
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.store import operators
from messaging.store.operators import OperatorRole

pages = Pages()
_PATH = "/console/operators"


@pages.get("/operators", role=OperatorRole.ADMIN)
def listed(visit: Visit) -> Answer:
    """Every operator."""
    with visit.begin() as connection:
        return Page("operators.html", {"all": operators.listed(connection), "roles": list(OperatorRole)})


@pages.post("/operators", action="operator.create", role=OperatorRole.ADMIN)
def create(visit: Visit) -> Answer:
    """A new operator."""
    with visit.begin() as connection:
        made = operators.create(
            connection,
            email=visit.text("email"),
            name=visit.text("name"),
            password=visit.form.get("password", ""),
            role=visit.text("role"),
        )
    return Done(_PATH, f"{made.email} may sign in.", subject=made.id, details={"role": made.role})


@pages.post("/operators/{operator}", action="operator.change", role=OperatorRole.ADMIN)
def change(visit: Visit) -> Answer:
    """Another role, or shut out."""
    with visit.begin() as connection:
        found = operators.find(connection, visit.places["operator"])
        made = operators.change(
            connection, found, role=visit.text("role") or None, enabled=visit.text("enabled") != "no"
        )
    details = {"role": made.role, "enabled": made.enabled}
    return Done(_PATH, f"{made.email} was changed, and signed out.", subject=made.id, details=details)


@pages.post("/operators/{operator}/delete", action="operator.delete", role=OperatorRole.ADMIN)
def delete(visit: Visit) -> Answer:
    """One operator less."""
    with visit.begin() as connection:
        found = operators.find(connection, visit.places["operator"])
        operators.delete(connection, found)
    return Done(_PATH, f"{found.email} may not sign in any more.", subject=found.id)
