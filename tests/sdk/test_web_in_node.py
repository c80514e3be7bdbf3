"""`appwrite` for the web, as published, in Node: what it asks for once it is signed in.

Cookies and origins are a browser's business and tried in one, by the system tests.
"""

from __future__ import annotations

import re

import pytest

from tests.integration.http.api import Api
from tests.sdk.node import JsError, Node

_ALONE = """
    const mine = new web.Client().setEndpoint(endpoint).setProject(project);
    const account = new web.Account(mine);
    const topics = new web.Messaging(mine);
"""
_SIGNED_IN = (
    """
    const session = await users.createSession({ userId });
"""
    + _ALONE
    + """
    mine.setSession(session.secret);
"""
)


@pytest.fixture(scope="module")
def user(node: Node) -> str:
    """A user; the id."""
    return str(node.run("return (await users.create({ userId: ID.unique(), name: 'Ada' })).$id;"))


def test_a_page_keeps_its_target_and_subscribes(node: Node, api: Api, user: str) -> None:
    """By name and by position."""
    api.ok("POST", "/messaging/topics", {"topicId": "open", "name": "Open", "subscribe": ["users"]})
    found = node.run(
        _SIGNED_IN
        + """
        const made = await account.createPushTarget({ targetId: 'page', identifier: 'token-1' });
        const moved = await account.updatePushTarget('page', 'token-2');
        const subscribed = await topics.createSubscriber({
            topicId: 'open', subscriberId: web.ID.unique(), targetId: 'page',
        });
        const left = await topics.deleteSubscriber('open', subscribed.$id);
        const gone = await account.deletePushTarget({ targetId: 'page' });
        return { made, moved, subscribed, left, gone };
        """,
        userId=user,
    )
    assert (found["made"]["userId"], found["made"]["providerType"]) == (user, "push")
    assert (found["moved"]["$id"], found["moved"]["identifier"]) == ("page", "token-2")
    assert found["subscribed"]["target"]["$id"] == "page"
    assert found["left"] == found["gone"] == {"message": ""}


def test_a_page_speaks_by_token(node: Node, user: str) -> None:
    """One that a token speaks for makes no further tokens."""
    found = node.run(
        _SIGNED_IN
        + """
        const { jwt } = await account.createJWT();
        const short = await account.createJWT({ duration: 60 });
        const other = new web.Account(new web.Client().setEndpoint(endpoint).setProject(project).setJWT(jwt));
        const me = await other.get();
        const refused = await other.createJWT().catch(({ code, type }) => ({ code, type }));
        return { me, refused, short };
        """,
        userId=user,
    )
    assert found["me"]["$id"] == user
    assert found["refused"] == {"code": 403, "type": "user_jwt_creation_denied"}
    assert found["short"]["jwt"].count(".") == 2


def test_a_page_signs_up_and_in(node: Node) -> None:
    """The secret stays out of the answer: it is in the cookie."""
    found = node.run(
        _ALONE
        + """
        const eva = { email: 'eva@shop.example', password: 'long enough' };
        const made = await account.create({ userId: web.ID.unique(), ...eva });
        const session = await account.createEmailPasswordSession('eva@shop.example', 'long enough');
        const nobody = await account.createAnonymousSession();
        return { made, session, nobody };
        """
    )
    assert found["session"]["userId"] == found["made"]["$id"]
    assert found["session"]["secret"] == found["nobody"]["secret"] == ""


@pytest.mark.parametrize(
    ("snippet", "code", "type_"),
    [
        ("await account.get();", 401, "general_unauthorized_scope"),
        ("await account.createPushTarget('t', 'token');", 401, "general_unauthorized_scope"),
        ("await topics.createSubscriber('open', 's', 't');", 401, "general_unauthorized_scope"),
        ("await account.createEmailPasswordSession('who@shop.example', 'wrong one');", 401, "user_invalid_credentials"),
        ("mine.setJWT('a.b.c'); await account.get();", 401, "user_jwt_invalid"),
        ("mine.setSession('wrong'); await account.get();", 401, "general_unauthorized_scope"),
    ],
)
def test_a_guest_is_refused(node: Node, snippet: str, code: int, type_: str) -> None:
    """With an exception of the SDK's."""
    with pytest.raises(JsError) as refused:
        node.run(_ALONE + snippet)
    assert (refused.value.name, refused.value.code, refused.value.type) == ("AppwriteException", code, type_)


def test_a_page_cannot_subscribe_what_is_not_its_own(node: Node, api: Api, user: str) -> None:
    """Knowing somebody's target id is not enough."""
    api.ok("POST", "/messaging/topics", {"topicId": "theirs", "name": "Theirs", "subscribe": ["users"]})
    other = node.run("""
        const { $id } = await users.create({ userId: ID.unique() });
        await users.createTarget({ userId: $id, targetId: 'not-mine', providerType: 'push', identifier: 'token-x' });
        return $id;
    """)
    assert other != user
    with pytest.raises(JsError) as refused:
        node.run(_SIGNED_IN + "await topics.createSubscriber('theirs', 's', 'not-mine');", userId=user)
    assert refused.value.code in {401, 403, 404}
    assert api.ok("GET", "/messaging/topics/theirs/subscribers")["total"] == 0


def test_a_preflight_gives_leave_to_every_header_of_the_sdk(api: Api) -> None:
    """A browser refuses the whole answer for one name that is none (https://fetch.spec.whatwg.org/#http-cors-protocol)."""
    asked = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type",
    }
    answer = api.call("OPTIONS", "/account", headers=asked, key=False)
    assert answer.is_success
    names = [name.strip() for name in answer.headers["access-control-allow-headers"].split(",")]
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", name) for name in names), names
    sent = ("content-type", "x-appwrite-project", "x-appwrite-jwt", "x-appwrite-session", "x-fallback-cookies")
    sdk = ("x-sdk-name", "x-sdk-platform", "x-sdk-language", "x-sdk-version", "x-appwrite-response-format")
    assert {*sent, *sdk} <= {name.lower() for name in names}
