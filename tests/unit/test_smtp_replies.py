"""What SMTP replies mean, by enhanced code, code and stage."""

import pytest

from messaging.outcome import Action
from workers.providers.smtp_replies import GREYLIST_DELAY_S, Stage, classify, enhanced_code, lost, scrub


@pytest.mark.parametrize(
    ("stage", "code", "text", "action"),
    [
        (Stage.RCPT, 501, "5.1.3 bad syntax", Action.DISABLE_TARGET),
        (Stage.MAIL, 501, "5.1.3 bad syntax", Action.STOP_PROVIDER),
        (Stage.MAIL, 550, "5.1.1 unknown sender", Action.STOP_PROVIDER),
        (Stage.MAIL, 550, "not allowed to send as", Action.STOP_PROVIDER),
        (Stage.MAIL, 553, "5.7.1 sender address rejected: not owned by user", Action.STOP_PROVIDER),
        (Stage.MAIL, 552, "5.3.4 too big", Action.REJECT_MESSAGE),
        (Stage.MAIL, 451, "4.3.0 try later", Action.RETRY),
        (Stage.RCPT, 550, "5.1.8 sender domain not found", Action.STOP_PROVIDER),
        (Stage.RCPT, 550, "5.7.1 relaying denied", Action.REJECT_MESSAGE),
        (Stage.RCPT, 550, "No such user here", Action.DISABLE_TARGET),
        (Stage.RCPT, 550, "Unrouteable address", Action.DISABLE_TARGET),
        (Stage.RCPT, 550, "relay not permitted", Action.REJECT_MESSAGE),
        (Stage.RCPT, 550, "blocked by our policy", Action.REJECT_MESSAGE),
        (Stage.RCPT, 552, "too many recipients", Action.RETRY),
        (Stage.FINAL_DOT, 552, "message exceeds storage", Action.REJECT_MESSAGE),
        (Stage.FINAL_DOT, 554, "5.7.1 spam", Action.REJECT_MESSAGE),
        (Stage.FINAL_DOT, 550, "5.1.1 unknown, says the next hop", Action.DISABLE_TARGET),
        (Stage.FINAL_DOT, 451, "4.3.0 try later", Action.RETRY),
        (Stage.GREETING, 554, "5.7.1 no service", Action.STOP_PROVIDER),
        (Stage.GREETING, 421, "4.3.2 too busy", Action.RECONNECT_RETRY),
        (Stage.GREETING, 450, "later", Action.RETRY),
        (Stage.STARTTLS, 454, "4.7.0 TLS not available", Action.RETRY),
        (Stage.AUTH, 535, "5.7.8 bad credentials", Action.STOP_PROVIDER),
        (Stage.AUTH, 454, "4.7.0 temporary failure", Action.RETRY),
        (Stage.DATA, 354, "go ahead", Action.ACCEPTED),
        (Stage.DATA, 250, "out of step", Action.RECONNECT_RETRY),
        (Stage.FINAL_DOT, 354, "out of step", Action.AMBIGUOUS_RETRY),
        (Stage.FINAL_DOT, -1, "", Action.AMBIGUOUS_RETRY),
    ],
)
def test_the_stage_decides_where_a_code_means_several_things(
    stage: Stage, code: int, text: str, action: Action
) -> None:
    """The same reply blames the account, the recipient or the message depending on what it answers."""
    assert classify(stage, code, text).action is action


@pytest.mark.parametrize("stage", list(Stage))
def test_a_closing_server_means_a_new_connection_at_every_stage(stage: Stage) -> None:
    """421 may be said in any state and never concerns the recipient."""
    assert classify(stage, 421, "4.4.2 bye").action is Action.RECONNECT_RETRY


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.FINAL_DOT])
def test_a_connection_lost_before_the_final_dot_sent_nothing(stage: Stage) -> None:
    """Only after the final dot can the server have taken the message."""
    assert lost(stage, "reset").action in {Action.RETRY, Action.RECONNECT_RETRY}
    assert lost(Stage.FINAL_DOT, "reset").action is Action.AMBIGUOUS_RETRY


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        ("4.7.1 Greylisted, try again later", GREYLIST_DELAY_S),
        ("4.2.0 Greylisted for 60 seconds", 60.0),
        ("4.7.1 Graylisting in action, come back in 5 minutes", 300.0),
        ("4.2.1 mailbox busy", None),
    ],
)
def test_a_greylisting_server_is_left_alone_for_a_while(text: str, delay_s: float | None) -> None:
    """The delay it names, else five minutes; other temporary refusals follow the usual back-off."""
    assert classify(Stage.RCPT, 450, text).retry_after_s == delay_s


def test_an_enhanced_code_of_another_class_is_not_believed() -> None:
    """A 550 that says 4.2.2, or a number in the middle of the words, is no enhanced code."""
    assert enhanced_code(550, "4.2.2 odd") == ""
    assert enhanced_code(550, "blocked 5.1.1 times") == ""
    assert enhanced_code(550, "5.1.1.7 an address") == ""
    assert enhanced_code(550, "5.01.10 padded") == "5.1.10"


def test_a_reason_never_holds_an_address() -> None:
    """Servers repeat the address; the ledger does not."""
    reason = classify(Stage.RCPT, 550, "5.1.1 <ann@example.org>: gone\nsee bob@example.org").reason
    assert "example.org" not in reason
    assert "gone" in reason
    assert scrub("x" * 500) == "x" * 200
