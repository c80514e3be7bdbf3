"""Accounts over HTTP: opening them, tokens that speak for them, and the devices they register."""

from __future__ import annotations

import time
from datetime import timedelta

import jwt
import pytest
from sqlalchemy import text

from messaging.http.caller import Caller, SignedIn
from messaging.http.roles import roles_of
from messaging.store import projects, providers
from tests.integration.http.api import Api, running_api
from tests.integration.http.people import PASSWORD, browser, has_account, session_secret, signs_in, speaking

PHONE = (
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Mobile Safari/537.36"
)


def test_an_account_has_every_field_and_no_password(api: Api) -> None:
    """The user's email is a target at once; how the password is kept is not shown."""
    with browser(api) as ada:
        made = ada.ok(
            "POST", "/account", {"userId": "ada", "email": "Ada@Example.com", "password": PASSWORD}, key=False
        )
    assert made["email"] == "ada@example.com"
    assert made["status"] is True
    assert made["prefs"] == {}
    assert (made["password"], made["hash"], made["hashOptions"]) == (None, None, None)
    assert made["passwordUpdate"] == made["registration"]
    assert [(target["providerType"], target["identifier"]) for target in made["targets"]] == [
        ("email", "ada@example.com")
    ]
    with api.engine.begin() as connection:
        kept = connection.execute(text("SELECT password_hash FROM users WHERE public_id = 'ada'")).scalar_one()
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_an_address_and_an_id_are_taken_once(api: Api) -> None:
    """However the address is spelt."""
    has_account(api, "bea")
    again = {"userId": "bea2", "email": "BEA@example.com", "password": PASSWORD}
    assert api.refused("POST", "/account", again) == (409, "user_already_exists")
    assert api.refused("POST", "/account", again | {"userId": "bea", "email": "other@example.com"}) == (
        409,
        "user_already_exists",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"userId": None},
        {"userId": "_x"},
        {"email": "nobody"},
        {"email": "a\0@example.com"},
        {"email": ["x@example.com"]},
        {"password": "short"},
        {"password": "x" * 257},
        {"password": "nul\0nul\0nul"},
        {"password": "half \ud800 of a pair"},
        {"password": 12345678},
        {"name": "x" * 129},
        {"name": ""},
        {"name": "\udfff"},
    ],
)
def test_bad_values_open_no_account(api: Api, wrong: dict[str, object]) -> None:
    """Each is refused by name."""
    body = {"userId": "never", "email": "never@example.com", "password": PASSWORD} | wrong
    assert api.refused("POST", "/account", body) == (400, "general_argument_invalid")
    assert api.refused("GET", "/users/never/sessions") == (404, "user_not_found")


def test_sql_in_a_text_is_text(api: Api) -> None:
    """It comes back as it was sent."""
    name = "x'); DROP TABLE users; --"
    made = api.ok("POST", "/account", {"userId": "sql", "email": "sql@example.com", "password": PASSWORD, "name": name})
    assert made["name"] == name


def test_only_a_signed_in_user_has_an_account(api: Api) -> None:
    """Neither a guest nor a server is somebody."""
    assert api.refused("GET", "/account", key=False) == (401, "general_unauthorized_scope")
    assert api.refused("GET", "/account") == (401, "general_unauthorized_scope")


def test_a_key_opens_accounts_only_with_the_scope(api: Api) -> None:
    """What anyone may do without a key, a key may do if it was meant to."""
    reader = {"x-appwrite-key": api.new_key("topics.read")}
    body = {"userId": "scoped", "email": "scoped@example.com", "password": PASSWORD}
    assert api.refused("POST", "/account", body, headers=reader) == (401, "general_unauthorized_scope")
    assert (
        api.ok("POST", "/account", body, headers={"x-appwrite-key": api.new_key("sessions.write")})["$id"] == "scoped"
    )


def test_an_expired_key_is_told_so(api: Api) -> None:
    """And not taken for a guest."""
    old = {"x-appwrite-key": api.new_key()}
    with api.engine.begin() as connection:
        connection.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 minute' WHERE name = 't' AND scopes = '{}'")
        )
    assert api.refused("GET", "/messaging/topics", headers=old) == (401, "project_key_expired")


class TestTokens:
    """`X-Appwrite-JWT`."""

    def test_a_token_speaks_for_its_user(self, api: Api) -> None:
        session = speaking(session_secret(api, has_account(api, "carl")))
        token = api.ok("POST", "/account/jwts", {}, key=False, headers=session)["jwt"]
        assert api.ok("GET", "/account", key=False, headers={"x-appwrite-jwt": token})["$id"] == "carl"
        said = jwt.decode(token, api.vault.token_key, algorithms=["HS256"])
        assert said["exp"] - said["iat"] == 900
        assert said["userId"] == "carl"

    def test_a_token_ends_with_its_session(self, api: Api) -> None:
        session = speaking(session_secret(api, has_account(api, "dora")))
        token = {"x-appwrite-jwt": api.ok("POST", "/account/jwts", {}, key=False, headers=session)["jwt"]}
        assert api.ok("GET", "/account/sessions/current", key=False, headers=token)["current"] is True
        api.ok("DELETE", "/account/sessions/current", key=False, headers=session)
        assert api.refused("GET", "/account", key=False, headers=token) == (401, "user_jwt_invalid")

    def test_a_token_makes_no_token_and_goes_with_no_session(self, api: Api) -> None:
        session = speaking(session_secret(api, has_account(api, "emil")))
        token = {"x-appwrite-jwt": api.ok("POST", "/account/jwts", {}, key=False, headers=session)["jwt"]}
        assert api.refused("POST", "/account/jwts", {}, key=False, headers=token) == (403, "user_jwt_creation_denied")
        assert api.refused("GET", "/account", key=False, headers=token | session) == (403, "user_jwt_and_cookie_set")

    def test_its_time_is_an_hour_at_most_and_may_be_none(self, api: Api) -> None:
        user = has_account(api, "fay")
        session_secret(api, user)
        assert api.refused("POST", f"/users/{user}/jwts", {"duration": 3601}) == (400, "general_argument_invalid")
        over = api.ok("POST", f"/users/{user}/jwts", {"duration": 0})["jwt"]
        assert api.refused("GET", "/account", key=False, headers={"x-appwrite-jwt": over}) == (401, "user_jwt_invalid")

    def test_a_server_makes_tokens_for_its_users(self, api: Api) -> None:
        """Of the newest session, of one it names, and of none where there is none."""
        user = has_account(api, "gus")
        alone = api.ok("POST", f"/users/{user}/jwts", {})["jwt"]
        assert api.ok("GET", "/account", key=False, headers={"x-appwrite-jwt": alone})["$id"] == user
        made = [api.ok("POST", f"/users/{user}/sessions", {})["$id"] for _ in range(2)]
        newest = api.ok("POST", f"/users/{user}/jwts", {"sessionId": "recent"})["jwt"]
        named = api.ok("POST", f"/users/{user}/jwts", {"sessionId": made[0]})["jwt"]
        for token, expected in ((newest, made[1]), (named, made[0])):
            current = api.ok("GET", "/account/sessions/current", key=False, headers={"x-appwrite-jwt": token})
            assert current["$id"] == expected
        assert api.refused("POST", f"/users/{user}/jwts", {"sessionId": "nosuch"}) == (404, "user_session_not_found")
        other = has_account(api, "gus2")
        assert api.refused("POST", f"/users/{other}/jwts", {"sessionId": made[0]}) == (404, "user_session_not_found")
        assert api.refused("POST", "/users/nobody/jwts", {}) == (404, "user_not_found")

    @pytest.mark.parametrize("how", ["garbage", "none", "other key", "other project", "without end", "wide"])
    def test_a_forged_token_is_refused(self, api: Api, how: str) -> None:
        claims = {"projectId": api.project, "userId": "gus", "sessionId": "", "iat": int(time.time())}
        ends = {"exp": int(time.time()) + 600}
        token = {
            "garbage": "a.b.c",
            "none": jwt.encode(claims | ends, "", algorithm="none"),
            "other key": jwt.encode(claims | ends, "k" * 32, algorithm="HS256"),
            "other project": jwt.encode(claims | ends | {"projectId": "x"}, api.vault.token_key, algorithm="HS256"),
            "without end": jwt.encode(claims, api.vault.token_key, algorithm="HS256"),
            "wide": "x" * 5000,
        }[how]
        assert api.refused("GET", "/account", key=False, headers={"x-appwrite-jwt": token}) == (401, "user_jwt_invalid")

    def test_a_blocked_user_is_refused_everywhere(self, api: Api) -> None:
        user = has_account(api, "hal")
        session = speaking(session_secret(api, user))
        token = {"x-appwrite-jwt": api.ok("POST", f"/users/{user}/jwts", {})["jwt"]}
        with api.engine.begin() as connection:
            connection.execute(text("UPDATE users SET blocked = true WHERE public_id = :id"), {"id": user})
        assert api.refused("GET", "/account", key=False, headers=session) == (403, "user_blocked")
        assert api.refused("GET", "/account", key=False, headers=token) == (403, "user_blocked")
        body = {"email": "hal@example.com", "password": PASSWORD}
        assert api.refused("POST", "/account/sessions/email", body, key=False) == (403, "user_blocked")


class TestDevices:
    """`/account/targets/push`."""

    def test_a_device_is_registered_renewed_and_forgotten(self, api: Api) -> None:
        user = has_account(api, "ida")
        session = speaking(session_secret(api, user)) | {"user-agent": PHONE}
        made = api.ok(
            "POST", "/account/targets/push", {"targetId": "phone", "identifier": "t:1"}, key=False, headers=session
        )
        assert made["name"] == "Google Pixel 7"
        assert (made["userId"], made["providerType"], made["providerId"]) == (user, "push", None)
        with api.engine.begin() as connection:
            connection.execute(text("UPDATE targets SET dead_at = now(), expired_at = now() WHERE public_id = 'phone'"))
        account = api.ok("GET", "/account", key=False, headers=session)
        assert [target["expired"] for target in account["targets"] if target["$id"] == "phone"] == [True]
        renewed = api.ok("PUT", "/account/targets/phone/push", {"identifier": "t:2"}, key=False, headers=session)
        assert (renewed["identifier"], renewed["expired"]) == ("t:2", False)
        gone = api.call("DELETE", "/account/targets/phone/push", key=False, headers=session)
        assert (gone.status_code, gone.content) == (204, b"")
        assert api.refused("DELETE", "/account/targets/phone/push", key=False, headers=session) == (
            404,
            "user_target_not_found",
        )

    def test_it_goes_when_its_session_ends_and_with_no_other(self, api: Api) -> None:
        user = has_account(api, "jan")
        first, second = speaking(session_secret(api, user)), speaking(session_secret(api, user))
        for session, target in ((first, "jan1"), (second, "jan2")):
            body = {"targetId": target, "identifier": f"t:{target}"}
            api.ok("POST", "/account/targets/push", body, key=False, headers=session)
        api.ok("DELETE", "/account/sessions/current", key=False, headers=first)
        left = api.ok("GET", "/account", key=False, headers=second)["targets"]
        assert [target["$id"] for target in left if target["providerType"] == "push"] == ["jan2"]

    def test_a_device_that_signs_in_to_another_account_comes_along(self, api: Api) -> None:
        """The first account has lost it, its topics too, and the end of the first session changes nothing."""
        one, two = (speaking(session_secret(api, has_account(api, name))) for name in ("kim", "leo"))
        body = {"targetId": "kimsphone", "identifier": "shared:token"}
        api.ok("POST", "/account/targets/push", body, key=False, headers=one)
        moved = api.ok("POST", "/account/targets/push", body | {"targetId": "leosphone"}, key=False, headers=two)
        assert (moved["$id"], moved["userId"]) == ("leosphone", "leo")
        assert push_targets(api, one) == []
        api.ok("DELETE", "/account/sessions/current", key=False, headers=one)
        assert push_targets(api, two) == ["leosphone"]

    def test_a_renewed_token_comes_along_too(self, api: Api) -> None:
        one, two = (speaking(session_secret(api, has_account(api, name))) for name in ("mia", "ned"))
        for session, target in ((one, "mias"), (two, "neds")):
            body = {"targetId": target, "identifier": f"t:{target}"}
            api.ok("POST", "/account/targets/push", body, key=False, headers=session)
        changed = api.ok("PUT", "/account/targets/neds/push", {"identifier": "t:mias"}, key=False, headers=two)
        assert (changed["$id"], changed["identifier"]) == ("neds", "t:mias")
        assert push_targets(api, one) == []

    def test_nobody_touches_a_target_of_somebody_else(self, api: Api) -> None:
        """It looks as if it were not there; its id can't be taken; an email target is no device."""
        one, two = (speaking(session_secret(api, has_account(api, name))) for name in ("oda", "pit"))
        api.ok("POST", "/account/targets/push", {"targetId": "odas", "identifier": "t:oda"}, key=False, headers=one)
        stolen = {"identifier": "t:pit"}
        path = "/account/targets/odas/push"
        assert api.refused("PUT", path, stolen, key=False, headers=two) == (404, "user_target_not_found")
        assert api.refused("DELETE", path, key=False, headers=two) == (404, "user_target_not_found")
        assert api.refused("POST", "/account/targets/push", stolen | {"targetId": "odas"}, key=False, headers=two) == (
            409,
            "user_target_already_exists",
        )
        mail = api.ok("GET", "/account", key=False, headers=one)["targets"][0]["$id"]
        assert api.refused("DELETE", f"/account/targets/{mail}/push", key=False, headers=one) == (
            404,
            "user_target_not_found",
        )
        assert push_targets(api, one) == ["odas"]

    def test_a_server_may_not_register_for_nobody(self, api: Api) -> None:
        body = {"targetId": "x", "identifier": "t:x"}
        assert api.refused("POST", "/account/targets/push", body) == (401, "general_unauthorized_scope")
        assert api.refused("POST", "/account/targets/push", body, key=False) == (401, "general_unauthorized_scope")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"identifier": ""},
            {"identifier": "a b"},
            {"identifier": "a\0b"},
            {"identifier": "\ud83d"},
            {"identifier": "x" * 4097},
            {"identifier": {"a": 1}},
            {"targetId": "-x"},
            {"providerId": ""},
        ],
    )
    def test_bad_values_register_nothing(self, api: Api, wrong: dict[str, object]) -> None:
        session = speaking(session_secret(api, "ada"))
        body = {"targetId": "bad", "identifier": "t:bad"} | wrong
        assert api.refused("POST", "/account/targets/push", body, key=False, headers=session) == (
            400,
            "general_argument_invalid",
        )
        assert push_targets(api, session) == []

    def test_a_provider_must_be_one_of_push(self, api: Api) -> None:
        session = speaking(session_secret(api, "ada"))
        with api.engine.begin() as connection:
            project = projects.find(connection, api.project)
            providers.create(
                connection,
                api.vault,
                project,
                kind="smtp",
                provider_id="mailer",
                name="Mailer",
                credentials={"host": "mail.example.org"},
                options={"fromEmail": "a@example.org"},
            )
        body = {"targetId": "bad", "identifier": "t:bad"}
        assert api.refused(
            "POST", "/account/targets/push", body | {"providerId": "nosuch"}, key=False, headers=session
        ) == (404, "provider_not_found")
        assert api.refused(
            "POST", "/account/targets/push", body | {"providerId": "mailer"}, key=False, headers=session
        ) == (400, "general_argument_invalid")


def push_targets(api: Api, session: dict[str, str]) -> list[str]:
    """Ids of the devices of the account."""
    found = api.ok("GET", "/account", key=False, headers=session)["targets"]
    return [target["$id"] for target in found if target["providerType"] == "push"]


def test_accounts_are_opened_ten_times_an_hour_from_one_address(postgres_url: str, valkey_url: str) -> None:
    """Counted also where they are refused; a server is not counted."""
    with running_api(postgres_url, valkey_url, project="default") as api, browser(api) as person:
        with api.engine.begin() as connection:
            connection.execute(text("DELETE FROM rate_limits"))
        for number in range(10):
            body = {"userId": "unique()", "email": "bea@example.com", "password": PASSWORD}
            answer = person.call("POST", "/account", body, key=False)
            assert answer.status_code == 409
            assert answer.headers["x-ratelimit-limit"] == "10"
            assert answer.headers["x-ratelimit-remaining"] == str(9 - number)
            assert time.time() < int(answer.headers["x-ratelimit-reset"]) <= time.time() + 3601
        refused = person.call("POST", "/account", body, key=False)
        assert (refused.status_code, refused.json()["type"]) == (429, "general_rate_limit_exceeded")
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        exempt = api.call("POST", "/account", body | {"email": "exempt@example.com"})
        assert exempt.status_code == 201
        assert "x-ratelimit-limit" not in exempt.headers
        with api.engine.begin() as connection:
            connection.execute(
                text("UPDATE rate_limits SET resets_at = resets_at - :hour"), {"hour": timedelta(hours=1)}
            )
        assert person.call("POST", "/account", body, key=False).status_code == 409


def test_roles_are_those_that_topics_name() -> None:
    """Of a guest, and of a user with labels."""
    assert roles_of(Caller(project_id=1)) == {"any", "guests"}
    user = SignedIn(
        user=1, user_id="u1", email="", labels=("vip",), session=1, session_id="s1", verified=True, by_jwt=False
    )
    assert roles_of(Caller(project_id=1, user=user)) == {
        "any",
        "users",
        "users/verified",
        "user:u1",
        "user:u1/verified",
        "label:vip",
    }


def test_a_person_signs_up_signs_in_and_registers_a_device(api: Api) -> None:
    """The steps of a web application, with nothing but cookies."""
    has_account(api, "quinn")
    with browser(api, user_agent=PHONE) as quinn:
        signs_in(quinn, "quinn")
        assert quinn.ok("GET", "/account", key=False)["accessedAt"]
        made = quinn.ok("POST", "/account/targets/push", {"targetId": "unique()", "identifier": "q"}, key=False)
        assert made["userId"] == "quinn"
        assert quinn.ok("POST", "/account/jwts", {}, key=False)["jwt"].count(".") == 2
