"""Writing a message in the console."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text

from messaging.status import MessageState
from messaging.store.messages import MessageView
from tests.integration.console import samples
from tests.integration.console.browser import Browser, in_words
from tests.integration.http.api import Api
from tests.integration.road import Road

HOME = "/p/default"
EMAIL, PUSH, SMS = (f"{HOME}/compose/{channel}" for channel in ("email", "push", "sms"))
MAIL = {"subject": "Hello", "content": "<p>Hi</p><img src='https://x.example/1.png'><script>alert(1)</script>"}


@pytest.fixture(scope="module", autouse=True)
def filled(world: Road, api: Api) -> None:
    """Providers, a topic of twelve phones, and a user with an email address."""
    provider = world.add_provider("apple", "apns", enabled=True)
    world.add_provider("mails", "sendgrid", enabled=True)
    world.add_topic("news", world.add_push_targets(12, provider=provider))
    samples.client_of(world).users.create(user_id="ada", name="Ada", email="ada@example.com")
    assert api.project == "default"


def form_id(page: str) -> str:
    """The id that a form gives its message."""
    found = re.search(r'name="id" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def sent(world: Road, where: str) -> MessageView:
    """The message that a form led to."""
    return world.view(where.rpartition("/")[2])


def test_a_push_to_a_topic_goes_out(world: Road, operator: Browser) -> None:
    """Everything that was typed is in it; its page comes next, and the audit log has it."""
    page = operator.page(f"{PUSH}?topic=news")
    assert 'value="news" checked' in page
    typed = {"id": form_id(page), "topics": "news", "title": "Hello", "body": "a\r\nb", "data": '{"order": 7}'}
    typed |= {"badge": "3", "sound": "bell", "critical": "yes", "lane": "bulk", "expires": "5", "do": "send"}
    message = sent(world, operator.done(PUSH, typed))
    assert message.id == form_id(page)
    assert message.state is MessageState.PROCESSING
    assert message.content == {
        "title": "Hello",
        "body": "a\nb",
        "data": {"order": "7"},
        "badge": 3,
        "sound": "bell",
        "critical": True,
    }
    assert (message.total, message.lane, message.audience["topics"]) == (12, "bulk", ["news"])
    assert round((message.expires_at - message.created_at).total_seconds() / 3600) == 5
    assert "on its way" in operator.read(f"{HOME}/messages/{message.id}")
    with world.engine.begin() as connection:
        noted = connection.execute(
            text("SELECT operator, action FROM audit_log WHERE subject = :id"), {"id": message.id}
        )
        assert tuple(noted.one()) == ("operator@example.com", "message.send")


def test_a_form_sent_twice_makes_one_message(world: Road, operator: Browser) -> None:
    """The second one leads to the same message and says so, whatever it says besides."""
    typed = {"id": "once", "users": "ada", "do": "send", **MAIL}
    assert operator.done(EMAIL, typed) == operator.done(EMAIL, typed | {"subject": "Other"}) == f"{HOME}/messages/once"
    assert "Nothing was sent twice" in operator.read(f"{HOME}/messages/once")
    assert world.view("once").content["subject"] == "Hello"
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM audit_log WHERE subject = 'once'")).scalar_one() == 1


@pytest.mark.parametrize(
    ("path", "typed", "said"),
    [
        (PUSH, {"topics": "news"}, "at least one of title, body and data"),
        (PUSH, {"topics": "news", "title": "x", "data": "[1]"}, "is an object"),
        (PUSH, {"topics": "news", "title": "x", "badge": "many"}, "is a whole number"),
        (PUSH, {"topics": "news", "title": "x", "image": "http://x"}, "begins with https://"),
        (PUSH, {"topics": "news", "title": "x", "expires": "0"}, "hours"),
        (PUSH, {"topics": "news", "title": "x", "when": "at", "at": "soon"}, "is a day and a time"),
        (PUSH, {"topics": "news", "title": "x", "when": "at", "at": "2001-01-01T00:00"}, "has passed"),
        (PUSH, {"topics": "nowhere", "title": "x"}, "No topic with the id 'nowhere'"),
        (PUSH, {"title": "x"}, "name at least one of users, targets, topics or addresses"),
        (EMAIL, {"users": "ada", "content": "x"}, "subject"),
        (EMAIL, {"users": "ada", **MAIL, "attachments": "a:b"}, "No bucket"),
        (SMS, {"addresses": "12", "content": "x"}, "is no possible phone number"),
    ],
)
def test_a_form_that_is_wrong_is_shown_again_with_what_was_typed(
    world: Road, operator: Browser, path: str, typed: dict[str, str], said: str
) -> None:
    """And what is wrong with it; nothing is written."""
    answer = operator.post(
        path, {"id": "wrong", "do": "send", "tag": "what was typed", "text": "what was typed", **typed}
    )
    assert answer.status_code == 400
    assert said in in_words(answer.text).replace("&#39;", "'")
    assert 'name="id" value="wrong"' in answer.text
    if path != SMS:
        assert "what was typed" in answer.text
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM messages WHERE public_id = 'wrong'")).scalar_one() == 0


def test_a_preview_counts_and_shows_and_writes_nothing(world: Road, operator: Browser) -> None:
    """Whom it would reach, who stands in the way, and what is missing still."""
    typed = {"topics": "news", "title": "Hello <b>", "addresses": "abcdef0123"}
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE targets SET dead_at = now() WHERE public_id = 't0'"))
    part = operator.post(f"{PUSH}/preview", typed)
    assert part.status_code == 200
    assert part.text.count("Hello &lt;b&gt;") == 2  # light and dark
    assert "Goes to 12 recipients. 1 of them by address. 1 more have a dead address." in in_words(part.text)
    whole = operator.post(PUSH, typed | {"do": "preview", "id": "seen"})
    assert "Goes to 12 recipients" in in_words(whole.text)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE targets SET dead_at = NULL"))
        assert (
            connection.execute(text("SELECT count(*) FROM targets WHERE identifier = 'abcdef0123'")).scalar_one() == 0
        )
    assert "No topic with the id" in in_words(operator.post(f"{PUSH}/preview", {"topics": "none", "title": "x"}).text)
    assert "No sms provider is enabled" in in_words(operator.post(f"{SMS}/preview", {"content": "x"}).text)


def test_a_text_message_is_counted_in_parts(operator: Browser) -> None:
    """And the character that makes it dear is named."""
    assert "GSM-7 · 1 part · 5 characters" in in_words(operator.post(f"{SMS}/preview", {"content": "hello"}).text)
    dear = in_words(operator.post(f"{SMS}/preview", {"content": "ж" * 71}).text)
    assert "UCS-2 · 2 parts · 71 characters" in dear
    assert "Because of ж" in dear


def test_a_mail_is_shown_in_a_frame_that_runs_and_loads_nothing(operator: Browser) -> None:
    """As its own document, of no origin; what it would load from elsewhere is counted."""
    answer = operator.post(f"{EMAIL}/frame", MAIL)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "img-src data:" in policy
    assert "script-src" not in policy
    assert MAIL["content"] in answer.text
    plain = operator.post(f"{EMAIL}/frame", {"content": "a <b>", "html": "no"})
    assert "a &lt;b&gt;" in plain.text
    assert "1 picture from elsewhere" in in_words(operator.post(f"{EMAIL}/preview", MAIL).text)


def test_topics_users_and_targets_are_found_to_choose_from(operator: Browser) -> None:
    """A topic by a part of its name, people by a whole address or id; with and without htmx."""
    found = operator.post(f"{EMAIL}/choices", {"q": "ADA@example.com"})
    assert 'name="users" value="ada"' in found.text
    assert 'name="targets"' in found.text
    assert 'name="topics" value="news"' in operator.post(f"{PUSH}/choices", {"q": "EW"}).text
    assert "Nothing found" in operator.post(f"{PUSH}/choices", {"q": "zz"}).text
    whole = operator.post(EMAIL, {"q": "ada", "do": "find", "subject": "kept", "id": "x"})
    assert 'name="users" value="ada"' in whole.text
    assert 'value="kept"' in whole.text


# -- drafts ----------------------------------------------------------------------------------------


def test_a_draft_is_kept_changed_and_sent(world: Road, operator: Browser) -> None:
    """What it said is in its form; it is sent as it is then, once."""
    where = operator.done(EMAIL, {"id": "a-draft", "do": "draft", "expires": "9", **MAIL})
    assert sent(world, where).state is MessageState.DRAFT
    form = operator.page(f"{where}/edit")
    assert "&lt;p&gt;Hi&lt;/p&gt;" in form
    assert 'name="expires" type="number" value="9"' in form
    changed = {"do": "send", "users": "ada", "subject": "Later", "content": "text", "headers": '{"X-A": "b"}'}
    assert operator.done(f"{where}/edit", changed) == where
    message = sent(world, where)
    assert message.state is MessageState.PROCESSING
    assert message.content == {"subject": "Later", "content": "text", "html": False, "headers": {"X-A": "b"}}
    assert operator.done(f"{where}/edit", changed) == where
    assert "Nothing was changed" in operator.read(where)
    assert operator.get(f"{where}/edit").status_code == 409


def test_a_message_is_scheduled_put_off_sent_now_or_deleted(world: Road, operator: Browser) -> None:
    """By the time in UTC."""
    typed = {"id": "later", "do": "send", "users": "ada", "when": "at", "at": "2050-01-02T03:04", **MAIL}
    where = operator.done(EMAIL, typed)
    message = sent(world, where)
    assert message.state is MessageState.SCHEDULED
    assert message.scheduled_at is not None
    assert message.scheduled_at.isoformat() == "2050-01-02T03:04:00+00:00"
    operator.done(f"{where}/reschedule", {"at": "2051-01-02T03:04"})
    put_off = sent(world, where)
    assert put_off.scheduled_at is not None
    assert put_off.scheduled_at.year == 2051
    assert put_off.expires_at - put_off.scheduled_at == message.expires_at - message.scheduled_at
    assert operator.post(f"{where}/reschedule", {"at": "2001-01-02T03:04"}).status_code == 400
    operator.done(f"{where}/send")
    assert sent(world, where).state is MessageState.PROCESSING
    assert operator.done(f"{where}/delete") == where  # too late
    draft = operator.done(EMAIL, {"id": "away", "do": "draft", **MAIL})
    assert operator.done(f"{draft}/delete") == f"{HOME}/messages"
    assert operator.get(draft).status_code == 404


def test_a_copy_says_what_the_message_said_and_is_another(world: Road, operator: Browser) -> None:
    """The form has an id of its own."""
    typed = {"users": "ada", "do": "draft", "cc": "boss@example.com", "reply_to_email": "us@example.com", **MAIL}
    where = operator.done(EMAIL, {"id": "first", **typed})
    page = operator.page(f"{EMAIL}?copy=first")
    for said in ("ada", "boss@example.com", "us@example.com", "Hello", "&lt;p&gt;Hi"):
        assert said in page
    assert form_id(page) != "first"
    assert operator.get(f"{PUSH}?copy=first").status_code == 404
    assert sent(world, where).state is MessageState.DRAFT


def test_stored_files_go_along(api: Api, world: Road, operator: Browser) -> None:
    """An attachment stays with the message through a change and a copy."""
    bucket = api.ok("POST", "/storage/buckets", {"bucketId": "files", "name": "files"})["$id"]
    upload = {"file": ("a.txt", b"hello", "text/plain")}
    headers = {"x-appwrite-project": api.project, "x-appwrite-key": api.key}
    path = f"{api.url}/storage/buckets/{bucket}/files"
    api.client.post(path, data={"fileId": "doc"}, files=upload, headers=headers).raise_for_status()
    where = operator.done(EMAIL, {"id": "with-file", "do": "draft", "users": "ada", "attachments": "files:doc", **MAIL})
    assert "files:doc" in operator.page(f"{where}/edit")
    operator.done(f"{where}/send")
    attached = [{"bucketId": "files", "fileId": "doc", "filename": "a.txt"}]
    assert sent(world, where).content["attachments"] == attached
