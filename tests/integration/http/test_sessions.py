"""Signing in and out: cookies, headers, how long it lasts and how often it may be tried."""

from __future__ import annotations

import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import pytest
from sqlalchemy import text

from messaging import passwords
from messaging.http import dispatch
from messaging.http.asked import Asked, asked
from messaging.store import retention, sessions
from tests.integration.http.api import PATIENCE_S, Api, running_api
from tests.integration.http.people import PASSWORD, browser, has_account, session_secret, signs_in, speaking

FIELDS = 29
YEAR_S = 365 * 86_400
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"


def seconds_left(api: Api, session_id: str) -> float:
    """Until the session ends, as the database has it."""
    with api.engine.begin() as connection:
        return float(
            connection.execute(
                text("SELECT extract(epoch FROM expires_at - now()) FROM sessions WHERE public_id = :id"),
                {"id": session_id},
            ).scalar_one()
        )


def test_a_session_has_every_field_and_hides_its_secret(api: Api) -> None:
    """It is in a cookie that no page can read."""
    has_account(api, "ada")
    with browser(api, user_agent=FIREFOX) as ada:
        body = {"email": "ada@example.com", "password": PASSWORD}
        answer = ada.call("POST", "/account/sessions/email", body, key=False)
        made = answer.json()
        assert answer.status_code == 201
        assert len(made) == FIELDS
        assert None not in made.values()
        assert (made["userId"], made["provider"], made["factors"]) == ("ada", "email", ["password"])
        assert (made["providerUid"], made["ip"]) == ("ada@example.com", "127.0.0.1")
        assert (made["osName"], made["clientName"], made["clientVersion"]) == ("GNU/Linux", "Firefox", "125.0")
        assert made["secret"] == ""
        assert made["current"] is True
        assert YEAR_S - 60 < seconds_left(api, made["$id"]) <= YEAR_S
        first, legacy = answer.headers.get_list("set-cookie")
        assert first.startswith("a_session_default=")
        assert "; HttpOnly; SameSite=Lax" in first
        assert "Secure" not in first
        assert legacy.startswith("a_session_default_legacy=")
        assert "SameSite" not in legacy
        assert "x-fallback-cookies" not in answer.headers
        assert ada.ok("GET", "/account", key=False)["$id"] == "ada"
        assert ada.ok("GET", "/account/sessions/current", key=False) == made
        assert ada.ok("GET", f"/account/sessions/{made['$id']}", key=False) == made


def test_the_secret_is_kept_as_its_hash_only(api: Api) -> None:
    """Whoever reads the table can sign in as nobody."""
    secret = session_secret(api, has_account(api, "ben"))
    assert len(secret) == 64
    with api.engine.begin() as connection:
        kept = connection.execute(text("SELECT s::text FROM sessions s")).scalars().all()
    assert kept
    assert not [row for row in kept if secret in row]


def test_a_server_that_signs_somebody_in_gets_the_secret(api: Api) -> None:
    """With which it then speaks for the user, whose browser it may name."""
    has_account(api, "cleo")
    body = {"email": "cleo@example.com", "password": PASSWORD}
    forwarded = {"x-forwarded-user-agent": FIREFOX}
    with browser(api) as nobody:
        made = nobody.ok("POST", "/account/sessions/email", body, headers=forwarded | {"x-appwrite-key": api.key})
    assert made["clientName"] == "Firefox"
    assert api.ok("GET", "/account", key=False, headers=speaking(made["secret"]))["$id"] == "cleo"
    with browser(api) as cleo:
        own = cleo.ok("POST", "/account/sessions/email", body, key=False, headers=forwarded)
    assert own["clientName"] == "python-httpx"


def test_over_tls_the_cookie_reaches_pages_of_other_sites(api: Api) -> None:
    """`SameSite=None` needs `Secure`."""
    with browser(api) as guest:
        answer = guest.call(
            "POST", "/account/sessions/anonymous", {}, key=False, headers={"x-forwarded-proto": "https"}
        )
    first, legacy = answer.headers.get_list("set-cookie")
    assert first.endswith("; HttpOnly; Secure; SameSite=None")
    assert legacy.endswith("; HttpOnly; Secure")


@pytest.mark.parametrize("body", [None, {}])
def test_a_guest_signs_in_without_a_name(api: Api, body: dict[str, str] | None) -> None:
    """As a user of their own, with no address."""
    with browser(api) as guest:
        made = guest.ok("POST", "/account/sessions/anonymous", body, key=False)
        assert (made["provider"], made["factors"]) == ("anonymous", ["anonymous"])
        account = guest.ok("GET", "/account", key=False)
        assert (account["$id"], account["email"], account["targets"]) == (made["userId"], "", [])


def test_who_is_signed_in_does_not_sign_in_again(api: Api) -> None:
    """Not before signing out, which leaves no cookie."""
    has_account(api, "dan")
    body = {"email": "dan@example.com", "password": PASSWORD}
    with browser(api) as dan:
        signs_in(dan, "dan")
        assert dan.refused("POST", "/account/sessions/email", body, key=False) == (401, "user_session_already_exists")
        assert dan.refused("POST", "/account/sessions/anonymous", {}, key=False) == (401, "user_session_already_exists")
        dan.ok("DELETE", "/account/sessions/current", key=False)
        assert not [cookie for cookie in dan.client.cookies.jar if cookie.value]
        assert dan.refused("GET", "/account", key=False) == (401, "general_unauthorized_scope")
        signs_in(dan, "dan")


def test_a_session_lasts_as_long_as_was_asked_for(api: Api) -> None:
    """A minute at least, a year at most; then a guest is left."""
    has_account(api, "eva")
    body = {"email": "eva@example.com", "password": PASSWORD}
    with browser(api) as eva:
        made = eva.ok("POST", "/account/sessions/email", body | {"duration": 60}, key=False)
        assert 30 < seconds_left(api, made["$id"]) <= 60
        with api.engine.begin() as connection:
            connection.execute(
                text("UPDATE sessions SET expires_at = now() - interval '1 s' WHERE public_id = :id"),
                {"id": made["$id"]},
            )
        assert eva.refused("GET", "/account", key=False) == (401, "general_unauthorized_scope")
        for duration in (59, YEAR_S + 1, "60", True):
            assert eva.refused("POST", "/account/sessions/email", body | {"duration": duration}, key=False) == (
                400,
                "general_argument_invalid",
            )
        signs_in(eva, "eva")


def test_what_has_expired_is_cleaned_up(api: Api) -> None:
    """Sessions with the devices registered in them, rate limits and kept answers; what has not stays."""
    user = has_account(api, "finn")
    old, new = (api.ok("POST", f"/users/{user}/sessions", {}) for _ in range(2))
    for session in (old, new):
        body = {"targetId": session["$id"], "identifier": session["$id"]}
        api.ok("POST", "/account/targets/push", body, key=False, headers=speaking(session["secret"]))
    with api.engine.begin() as connection:
        connection.execute(
            text("UPDATE sessions SET expires_at = now() - interval '1 s' WHERE public_id = :id"), {"id": old["$id"]}
        )
        connection.execute(
            text(
                "INSERT INTO rate_limits VALUES ('old', 1, now() - interval '1 s'), ('new', 1, now() + interval '1 h')"
            )
        )
        retention.forget(connection, retention_days=90)
        left = connection.execute(text("SELECT key FROM rate_limits WHERE key IN ('old', 'new')")).scalars().all()
    assert left == ["new"]
    account = api.ok("GET", "/account", key=False, headers=speaking(new["secret"]))
    assert [target["$id"] for target in account["targets"] if target["providerType"] == "push"] == [new["$id"]]


class TestWrongPasswords:
    """What somebody who guesses learns: nothing."""

    def test_unknown_address_and_wrong_password_are_one_answer(self, api: Api) -> None:
        has_account(api, "gil")
        session_secret(api, "gil")
        answers = [
            api.call("POST", "/account/sessions/email", {"email": email, "password": "wrong"}, key=False)
            for email in ("gil@example.com", "nobody@example.com")
        ]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert answers[0].json() == answers[1].json()
        assert answers[0].json()["type"] == "user_invalid_credentials"
        assert "set-cookie" not in answers[0].headers

    def test_they_take_the_same_time(self, api: Api) -> None:
        """A hash is calculated for an unknown address too: without it, the answer would come ten times sooner.

        What else the machine does only adds to it: the quickest of several answers shows what the work takes.
        """
        has_account(api, "hana")
        api.ok("POST", "/users", {"userId": "nopass", "email": "nopass@example.com"})
        seconds = dict.fromkeys(("hana", "nobody", "nopass"), math.inf)

        def are_alike() -> bool:
            known, unknown, without = seconds.values()
            return 0.5 < unknown / known < 2 and 0.5 < without / known < 2

        for tries in range(50):
            for name, quickest in seconds.items():
                body = {"email": f"{name}@example.com", "password": "wrong password"}
                started = time.perf_counter()
                assert api.call("POST", "/account/sessions/email", body).status_code == 401
                seconds[name] = min(quickest, time.perf_counter() - started)
            if tries >= 7 and are_alike():
                break
        assert are_alike(), seconds

    @pytest.mark.parametrize(
        "wrong",
        [
            {"email": "no address"},
            {"email": "ada@example.com\0"},
            {"email": {"$ne": ""}},
            {"password": None},
            {"password": ""},
            {"password": ["x"]},
            {"password": "\ud800"},
            {"password": "x" * 257},
        ],
    )
    def test_bad_values_sign_nobody_in(self, api: Api, wrong: dict[str, object]) -> None:
        body = {"email": "ada@example.com", "password": PASSWORD} | wrong
        assert api.refused("POST", "/account/sessions/email", body, key=False) == (400, "general_argument_invalid")

    def test_sql_is_no_password(self, api: Api) -> None:
        body = {"email": "gil@example.com", "password": "' OR '1'='1"}
        assert api.refused("POST", "/account/sessions/email", body) == (401, "user_invalid_credentials")

    def test_a_password_under_older_parameters_is_hashed_again(self, api: Api) -> None:
        has_account(api, "igor")
        older = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
        with api.engine.begin() as connection:
            connection.execute(text("UPDATE users SET password_hash = :hash WHERE public_id = 'igor'"), {"hash": older})
        with browser(api) as igor:
            signs_in(igor, "igor")
        with api.engine.begin() as connection:
            kept = connection.execute(text("SELECT password_hash FROM users WHERE public_id = 'igor'")).scalar_one()
        assert "m=19456,t=2,p=1" in kept


class TestWhereSessionsTravel:
    """Header, cookie, and the header for browsers that keep no cookies."""

    @pytest.mark.parametrize(
        "header",
        [
            {"x-appwrite-session": "{}"},
            {"cookie": "a_session_default={}"},
            {"cookie": "other=1; a_session_default_legacy={}"},
            {"x-fallback-cookies": '{{"a_session_default":"{}"}}'},
            {"cookie": "a_session_default=gone", "x-fallback-cookies": '{{"a_session_default":"{}"}}'},
        ],
    )
    def test_each_of_them_counts(self, api: Api, header: dict[str, str]) -> None:
        secret = session_secret(api, "ada")
        said = {name: value.format(secret) for name, value in header.items()}
        assert api.ok("GET", "/account", key=False, headers=said)["$id"] == "ada"

    @pytest.mark.parametrize(
        "header",
        [
            {"x-appwrite-session": "wrong"},
            {"cookie": "a_session_default=wrong"},
            {"cookie": "a_session_other={}"},
            {"x-fallback-cookies": "no json"},
            {"x-fallback-cookies": "[]"},
            {"x-fallback-cookies": '{{"a_session_default":5}}'},
            {"x-fallback-cookies": '{{"a_session_default":"\\ud800"}}'},
            {"x-fallback-cookies": "[" * 8000},
            {"x-fallback-cookies": '{{"a_session_other":"{}"}}'},
            {"x-appwrite-session": "wrong", "cookie": "a_session_default={}"},
        ],
    )
    def test_anything_else_is_a_guest(self, api: Api, header: dict[str, str]) -> None:
        secret = session_secret(api, "ada")
        said = {name: value.format(secret) if "{}" in value else value for name, value in header.items()}
        assert api.refused("GET", "/account", key=False, headers=said) == (401, "general_unauthorized_scope")

    def test_a_session_is_one_of_its_project(self, api: Api) -> None:
        """Another project's header with it is a guest's request."""
        secret = session_secret(api, "ada")
        with api.engine.begin() as connection:
            connection.execute(text("INSERT INTO projects (public_id, name) VALUES ('else', 'Else')"))
        said = speaking(secret) | {"x-appwrite-project": "else"}
        assert api.refused("GET", "/account", key=False, headers=said) == (401, "general_unauthorized_scope")


class TestOthersSessions:
    """Whose session it is, decides."""

    def test_nobody_sees_or_ends_those_of_somebody_else(self, api: Api) -> None:
        for name in ("jo", "kai"):
            has_account(api, name)
        theirs = api.ok("POST", "/users/jo/sessions", {})
        own = speaking(session_secret(api, "kai"))
        path = f"/account/sessions/{theirs['$id']}"
        assert api.refused("GET", path, key=False, headers=own) == (404, "user_session_not_found")
        assert api.refused("DELETE", path, key=False, headers=own) == (404, "user_session_not_found")
        assert api.ok("GET", "/account", key=False, headers=speaking(theirs["secret"]))["$id"] == "jo"

    def test_one_ends_another_of_ones_own_and_stays_signed_in(self, api: Api) -> None:
        with browser(api) as jo:
            signs_in(jo, "jo")
            phone = api.ok("POST", "/users/jo/sessions", {})
            answer = jo.call("DELETE", f"/account/sessions/{phone['$id']}", key=False)
            assert answer.status_code == 204
            assert "set-cookie" not in answer.headers
            assert answer.headers["content-type"] == "text/html; charset=UTF-8"
            assert jo.ok("GET", "/account", key=False)["$id"] == "jo"
        assert api.refused("GET", "/account", key=False, headers=speaking(phone["secret"]))[0] == 401

    def test_a_server_lists_them_without_secrets(self, api: Api) -> None:
        has_account(api, "lea")
        made = [api.ok("POST", "/users/lea/sessions", {}) for _ in range(2)]
        assert all(one["secret"] for one in made)
        found = api.ok("GET", "/users/lea/sessions")
        assert found["total"] == 2
        assert found["sessions"] == [one | {"secret": ""} for one in made]
        assert api.ok("GET", "/users/lea/sessions", total="false")["total"] == 0
        assert api.refused("GET", "/users/lea/sessions", key=False) == (401, "general_unauthorized_scope")
        assert api.refused("POST", "/users/nobody/sessions", {}) == (404, "user_not_found")

    def test_a_deleted_user_is_signed_out(self, api: Api) -> None:
        has_account(api, "max")
        session = speaking(session_secret(api, "max"))
        api.ok("DELETE", "/users/max")
        assert api.refused("GET", "/account", key=False, headers=session) == (401, "general_unauthorized_scope")


class TestHowOften:
    """Sign-ins are counted by address and email."""

    def test_ten_an_hour_then_even_the_right_password_waits(self, postgres_url: str, valkey_url: str) -> None:
        with running_api(postgres_url, valkey_url) as api, browser(api) as guesser:
            has_account(api, "nils")
            wrong = {"email": "Nils@example.com", "password": "guess"}
            left = [
                guesser.call("POST", "/account/sessions/email", wrong, key=False).headers["x-ratelimit-remaining"]
                for _ in range(10)
            ]
            assert left == [str(number) for number in range(9, -1, -1)]
            right = {"email": "nils@example.com", "password": PASSWORD}
            answer = guesser.call("POST", "/account/sessions/email", right, key=False)
            assert (answer.status_code, answer.json()["type"]) == (429, "general_rate_limit_exceeded")
            assert (
                guesser.call("POST", "/account/sessions/email", wrong | {"email": "o@example.com"}, key=False).headers[
                    "x-ratelimit-remaining"
                ]
                == "9"
            )
            elsewhere = {"x-forwarded-for": "192.0.2.7"}
            assert (
                guesser.call("POST", "/account/sessions/email", right, key=False, headers=elsewhere).status_code == 201
            )
            with api.engine.begin() as connection:
                keys = connection.execute(text("SELECT key FROM rate_limits")).scalars().all()
            assert keys
            assert not [key for key in keys if "nils" in key or "127.0.0.1" in key]

    def test_from_many_addresses_a_hundred(self, api: Api) -> None:
        """One stranger can't lock the owner out, and a thousand can't guess for ever."""
        body = {"email": "many@example.com", "password": "guess"}
        with browser(api) as guessers:
            for number in range(100):
                said = {"x-forwarded-for": f"198.51.100.{number}"}
                assert (
                    guessers.call("POST", "/account/sessions/email", body, key=False, headers=said).status_code == 401
                )
            said = {"x-forwarded-for": "198.51.100.200"}
            assert guessers.refused("POST", "/account/sessions/email", body, key=False, headers=said) == (
                429,
                "general_rate_limit_exceeded",
            )

    def test_limits_can_be_turned_off(self, postgres_url: str, valkey_url: str) -> None:
        with running_api(postgres_url, valkey_url, http_rate_limits=False) as api, browser(api) as person:
            body = {"email": "off@example.com", "password": "guess"}
            answers = [person.call("POST", "/account/sessions/email", body, key=False) for _ in range(11)]
        assert {answer.status_code for answer in answers} == {401}
        assert "x-ratelimit-limit" not in answers[0].headers


def test_many_sign_ins_leave_room_for_everything_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty wait for the few that hash at once; a request that hashes nothing overtakes them."""
    arrived, overtaken = threading.Semaphore(0), threading.Event()
    is_password = passwords.is_password

    def counted(*said: Any) -> Asked:
        arrived.release()
        return asked(*said)

    def hashed(password: str, kept: str | None) -> bool:
        assert overtaken.wait(PATIENCE_S)
        return is_password(password, kept)

    monkeypatch.setattr(dispatch, "asked", counted)
    monkeypatch.setattr(passwords, "is_password", hashed)
    body = {"email": "nobody@example.com", "password": "wrong password"}
    with ThreadPoolExecutor(40) as crowd, browser(api) as other:
        waiting = [crowd.submit(api.call, "POST", "/account/sessions/email", body) for _ in range(40)]
        try:
            for _ in waiting:
                assert arrived.acquire(timeout=PATIENCE_S)
            # without the few, each of the threads for what takes long would be hashing now
            assert other.call("GET", "/messaging/topics", headers={"x-appwrite-key": api.key}).status_code == 200
            assert not any(one.done() for one in waiting)
        finally:
            overtaken.set()
        assert {one.result().status_code for one in waiting} == {401}


def test_two_accounts_at_one_moment_share_no_address(api: Api) -> None:
    """One of them is refused."""
    bodies = [{"userId": f"twin{one}", "email": "twin@example.com", "password": PASSWORD} for one in range(6)]
    with ThreadPoolExecutor(6) as crowd:
        statuses = sorted(crowd.map(lambda body: api.call("POST", "/account", body).status_code, bodies))
    assert statuses == [201, 409, 409, 409, 409, 409]


def test_a_fallback_is_answered_to_pages_only(api: Api) -> None:
    """The SDK keeps it where the browser keeps no cookie, and forgets it at the end."""
    has_account(api, "olga")
    with browser(api, origin="http://localhost:3000") as olga:
        body = {"email": "olga@example.com", "password": PASSWORD}
        answer = olga.call("POST", "/account/sessions/email", body, key=False)
        kept = json.loads(answer.headers["x-fallback-cookies"])
        assert list(kept) == ["a_session_default"]
        olga.client.cookies.clear()
        said = {"x-fallback-cookies": json.dumps(kept)}
        assert olga.ok("GET", "/account", key=False, headers=said)["$id"] == "olga"
        gone = olga.call("DELETE", "/account/sessions/current", key=False, headers=said)
        assert gone.headers["x-fallback-cookies"] == "{}"
        assert olga.refused("GET", "/account", key=False, headers=said)[0] == 401


def test_a_secret_is_never_kept_for_a_repeated_request(api: Api) -> None:
    """The same idempotency key makes two sessions, and leaves nothing behind."""
    has_account(api, "pia")
    key = {"idempotency-key": "sign-in"}
    first, second = (api.ok("POST", "/users/pia/sessions", {}, headers=key) for _ in range(2))
    assert first["secret"] != second["secret"]
    with api.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM http_answers")).scalar_one() == 0
        assert sessions.of_secret(connection, 1, first["secret"]) is not None
