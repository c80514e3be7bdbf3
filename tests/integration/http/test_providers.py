"""Providers over HTTP: every kind, enabled only when complete, secrets in and never out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from messaging.catalog import KINDS
from messaging.limits import Limits
from messaging.outcome import Action
from messaging.store import provider_stops, providers
from tests.integration.http.api import Api, query

SENDGRID = {"apiKey": "SG.very-secret", "fromEmail": "news@shop.example"}
SERVICE_ACCOUNT = {"type": "service_account", "project_id": "p", "private_key": "top-secret"}


def create(api: Api, kind: str, provider_id: str = "unique()", **fields: Any) -> Any:
    """A new provider of a kind."""
    return api.ok("POST", f"/messaging/providers/{kind}", {"providerId": provider_id, "name": "P", **fields})


def account(api: Api, provider_id: str) -> providers.ProviderAccount:
    """What an adapter would get."""
    with api.engine.connect() as connection:
        number = providers.find(connection, 1, provider_id)
        return providers.load_account(connection, api.vault, number)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_made_changed_and_deleted(api: Api, kind: str) -> None:
    """With its name alone at first; the SDKs find every field they require."""
    host = {"host": "mx.example.org"} if any(f.name == "host" for f in KINDS[kind].credentials) else {}
    made = create(api, kind, f"plain-{kind}", **host)
    assert (made["provider"], made["type"], made["enabled"]) == (kind, KINDS[kind].channel, False)
    assert isinstance(made["credentials"], dict)
    assert isinstance(made["options"], dict)
    assert (made["unavailable"] is None) is KINDS[kind].has_adapter
    changed = api.ok("PATCH", f"/messaging/providers/{kind}/plain-{kind}", {"name": "Q"})
    assert changed["name"] == "Q"
    assert api.ok("GET", f"/messaging/providers/plain-{kind}") == changed
    assert api.call("DELETE", f"/messaging/providers/plain-{kind}").status_code == 204
    assert api.refused("GET", f"/messaging/providers/plain-{kind}") == (404, "provider_not_found")


class TestEnabling:
    """Only what is complete and can send."""

    def test_it_is_disabled_unless_the_caller_says_otherwise(self, api: Api) -> None:
        made = create(api, "sendgrid", **SENDGRID)
        assert (made["enabled"], made["missing"]) == (False, [])
        assert create(api, "sendgrid", **SENDGRID, enabled=True)["enabled"] is True
        assert create(api, "sendgrid", **SENDGRID, enabled=None)["enabled"] is False

    def test_an_incomplete_one_is_made_disabled_and_refused_later(self, api: Api) -> None:
        made = create(api, "sendgrid", "half", apiKey="SG.x", enabled=True)
        assert (made["enabled"], made["missing"]) == (False, ["fromEmail"])
        half = "/messaging/providers/sendgrid/half"
        assert api.refused("PATCH", half, {"enabled": True}) == (400, "provider_missing_credentials")
        done = api.ok("PATCH", half, {"enabled": True, "fromEmail": "a@shop.example"})
        assert (done["enabled"], done["missing"]) == (True, [])
        assert api.ok("PATCH", half, {"enabled": False})["enabled"] is False

    def test_a_kind_that_cannot_send_yet_says_so_and_stays_disabled(self, api: Api) -> None:
        """However complete it is."""
        made = create(api, "appwrite", "own", enabled=True)
        assert (made["enabled"], made["missing"]) == (False, [])
        assert "can't send yet" in made["unavailable"]
        answer = api.call("PATCH", "/messaging/providers/appwrite/own", {"enabled": True})
        assert (answer.status_code, answer.json()["type"]) == (400, "provider_missing_credentials")
        assert answer.json()["message"] == made["unavailable"]

    def test_a_change_starts_a_stopped_provider_again(self, api: Api) -> None:
        create(api, "sendgrid", "stopped", **SENDGRID, enabled=True)
        with api.engine.begin() as connection:
            provider_stops.stop_for(
                connection,
                providers.find(connection, 1, "stopped"),
                "the key was revoked",
                action=Action.STOP_PROVIDER,
            )
        before = api.ok("GET", "/messaging/providers/stopped")
        assert before["stoppedReason"] == "the key was revoked"
        assert before["stoppedAt"]
        after = api.ok("PATCH", "/messaging/providers/sendgrid/stopped", {"apiKey": "SG.new"})
        assert (after["stoppedAt"], after["stoppedReason"]) == (None, None)


class TestSecrets:
    """Kept, used and never shown."""

    def test_a_secret_is_masked_and_the_rest_is_shown(self, api: Api) -> None:
        key = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
        answer = api.call(
            "POST",
            "/messaging/providers/apns",
            {"providerId": "ios", "name": "iOS", "authKey": key, "authKeyId": "K", "teamId": "T", "bundleId": "b.c"},
        )
        assert answer.json()["credentials"] == {
            "authKey": "********",
            "authKeyId": "K",
            "teamId": "T",
            "bundleId": "b.c",
        }
        assert answer.json()["options"] == {"sandbox": False}
        listed = api.call("GET", "/messaging/providers").text
        assert "PRIVATE KEY" not in answer.text + listed
        assert account(api, "ios").credentials["authKey"] == key

    def test_what_was_read_can_be_written_back(self, api: Api) -> None:
        """The mask stands for the secret that is there."""
        create(api, "sendgrid", "again", **SENDGRID)
        read = api.ok("GET", "/messaging/providers/again")
        api.ok(
            "PATCH", "/messaging/providers/sendgrid/again", {**read["credentials"], **read["options"]} | {"name": "R"}
        )
        assert account(api, "again").credentials["apiKey"] == "SG.very-secret"

    def test_an_empty_text_changes_nothing(self, api: Api) -> None:
        create(api, "sendgrid", "kept", **SENDGRID, fromName="Shop")
        body = {"name": "", "apiKey": "", "fromEmail": "", "fromName": "", "replyToEmail": ""}
        after = api.ok("PATCH", "/messaging/providers/sendgrid/kept", body)
        assert (after["name"], after["options"]["fromName"]) == ("P", "Shop")
        assert account(api, "kept").credentials["apiKey"] == "SG.very-secret"

    @pytest.mark.parametrize("given", [SERVICE_ACCOUNT, json.dumps(SERVICE_ACCOUNT)])
    def test_a_service_account_is_an_object_or_its_text(self, api: Api, given: object) -> None:
        made = create(api, "fcm", serviceAccountJSON=given, enabled=True)
        assert (made["enabled"], made["credentials"]) == (True, {"serviceAccountJSON": "********"})
        assert account(api, made["$id"]).credentials["serviceAccountJSON"] == SERVICE_ACCOUNT

    def test_an_empty_service_account_is_none(self, api: Api) -> None:
        assert create(api, "fcm", serviceAccountJSON={}, enabled=True)["missing"] == ["serviceAccountJSON"]


class TestFields:
    """Each under the name and in the place the SDKs know."""

    def test_a_mail_server_has_its_defaults(self, api: Api) -> None:
        made = create(api, "smtp", host="mx.example.org", fromEmail="a@shop.example", password="p", enabled=True)
        assert made["enabled"] is True
        assert made["credentials"] == {
            "host": "mx.example.org",
            "port": 587,
            "username": "",
            "password": "********",
        }
        assert (made["options"]["encryption"], made["options"]["autoTLS"]) == ("none", True)

    def test_several_mail_servers_are_taken(self, api: Api) -> None:
        """As the adapter takes them."""
        hosts = "mx1.example.org:25;tls://mx2.example.org:587;ssl://[::1]:465;fe80::1"
        assert create(api, "smtp", host=hosts)["credentials"]["host"] == hosts

    def test_the_sender_of_an_sms_is_an_option(self, api: Api) -> None:
        made = create(api, "twilio", "sms", accountSid="AC1", authToken="t", enabled=True, **{"from": "+15005550006"})
        assert (made["enabled"], made["options"]["from"]) == (True, "+15005550006")
        changed = api.ok("PATCH", "/messaging/providers/twilio/sms", {"from": "Shop"})
        assert changed["options"]["from"] == "Shop"
        assert changed["credentials"] == {"accountSid": "AC1", "authToken": "********"}

    @pytest.mark.parametrize(
        ("kind", "fields"),
        [
            ("smtp", {}),
            ("smtp", {"host": ""}),
            ("smtp", {"host": "mx.example.org:99999"}),
            ("smtp", {"host": "http://mx.example.org/path"}),
            ("smtp", {"host": ";"}),
            ("smtp", {"host": "a;" * 400 + "!:"}),
            ("smtp", {"host": "mx.example.org", "port": 0}),
            ("smtp", {"host": "mx.example.org", "port": "587"}),
            ("smtp", {"host": "mx.example.org", "encryption": "starttls"}),
            ("smtp", {"host": "mx.example.org", "autoTLS": "yes"}),
            ("smtp", {"host": "mx.example.org", "username": "a\0b"}),
            ("sendgrid", {"apiKey": "\ud800"}),
            ("sendgrid", {"apiKey": 5}),
            ("sendgrid", {"apiKey": ["x"]}),
            ("sendgrid", {"apiKey": ""}),
            ("sendgrid", {"fromEmail": "nobody"}),
            ("sendgrid", {"fromName": "x" * 129}),
            ("sendgrid", {"name": ""}),
            ("sendgrid", {"priority": 1.5}),
            ("apns", {"sandbox": "true"}),
            ("apns", {"enabled": 1}),
            ("twilio", {"from": "+1"}),
            ("twilio", {"from": "a name that is too long"}),
            ("fcm", {"serviceAccountJSON": "{"}),
            ("fcm", {"serviceAccountJSON": "[]"}),
            ("fcm", {"serviceAccountJSON": "[" * 100_000}),
            ("fcm", {"serviceAccountJSON": 7}),
            ("fcm", {"serviceAccountJSON": {"private_key": "\ud800"}}),
            ("fcm", {"serviceAccountJSON": '{"private_key": "\\u0000"}'}),
            ("appwrite", {"qos": 2}),
            ("appwrite", {"expiry": 604_801}),
            ("ses", {"providerId": "../x"}),
        ],
    )
    def test_what_cannot_be_used_is_refused_by_name(self, api: Api, kind: str, fields: dict[str, Any]) -> None:
        body = {"providerId": "refused", "name": "P", **fields}
        assert api.refused("POST", f"/messaging/providers/{kind}", body) == (400, "general_argument_invalid")
        assert api.refused("GET", "/messaging/providers/refused") == (404, "provider_not_found")

    def test_sql_in_a_text_is_text(self, api: Api) -> None:
        name = "'; DROP TABLE providers; --"
        made = create(api, "sendgrid", apiKey=name, fromName=name)
        assert made["options"]["fromName"] == name
        assert account(api, made["$id"]).credentials["apiKey"] == name

    def test_an_id_is_taken_once(self, api: Api) -> None:
        create(api, "sendgrid", "twice")
        body = {"providerId": "twice", "name": "P"}
        assert api.refused("POST", "/messaging/providers/apns", body) == (409, "provider_already_exists")

    def test_the_operations_of_another_kind_do_not_change_it(self, api: Api) -> None:
        create(api, "sendgrid", "mine")
        patch = ("PATCH", "/messaging/providers/apns/mine", {"name": "x"})
        assert api.refused(*patch) == (400, "provider_incorrect_type")
        assert api.refused("PATCH", "/messaging/providers/apns/nobody", {"name": "x"}) == (404, "provider_not_found")

    def test_a_priority_is_kept(self, api: Api) -> None:
        made = create(api, "sendgrid", "first", priority=-3)
        assert made["priority"] == -3
        assert api.ok("PATCH", "/messaging/providers/sendgrid/first", {"priority": 0})["priority"] == 0


class TestLimits:
    """How fast an account may send, and its share of the traffic."""

    def test_without_any_those_of_its_kind_hold(self, api: Api) -> None:
        made = create(api, "sendgrid", "unlimited")
        assert made["limits"] == {"perSecond": None, "perMinute": None, "concurrency": None, "warmUp": False}
        assert (made["weight"], made["stoppedUntil"]) == (0, None)
        assert account(api, "unlimited").limits == Limits()

    def test_they_are_kept_and_replaced_as_a_whole(self, api: Api) -> None:
        """What was read can be written back."""
        limits = {"perSecond": 0.5, "perMinute": 1000, "concurrency": 5, "warmUp": True}
        made = create(api, "sendgrid", "limited", limits=limits, weight=3)
        assert (made["limits"], made["weight"]) == (limits, 3)
        assert account(api, "limited").limits == Limits(per_second=0.5, per_minute=1000, concurrency=5, warm_up=True)
        patch = "/messaging/providers/sendgrid/limited"
        kept = api.ok("PATCH", patch, {"name": "Q"})
        assert (kept["limits"], kept["weight"]) == (limits, 3)
        assert api.ok("PATCH", patch, {"limits": limits, "weight": None})["limits"] == limits
        changed = api.ok("PATCH", patch, {"limits": {"perMinute": 20.0, "concurrency": None}, "weight": 0})
        assert changed["limits"] == {"perSecond": None, "perMinute": 20, "concurrency": None, "warmUp": False}
        assert changed["weight"] == 0
        assert api.ok("PATCH", patch, {"limits": None})["limits"] == changed["limits"]
        assert api.ok("PATCH", patch, {"limits": {}})["limits"]["perMinute"] is None

    @pytest.mark.parametrize(
        "fields",
        [
            {"limits": 5},
            {"limits": []},
            {"limits": {"per_second": 5}},
            {"limits": {"perSecond": 0}},
            {"limits": {"perSecond": "5"}},
            {"limits": {"perSecond": True}},
            {"limits": {"perSecond": 1_000_001}},
            {"limits": {"perMinute": 1.5}},
            {"limits": {"concurrency": -1}},
            {"limits": {"warmUp": 1}},
            {"limits": {"warmUp": True}},
            {"weight": -1},
            {"weight": 1001},
            {"weight": 0.5},
        ],
    )
    def test_what_is_no_limit_is_refused(self, api: Api, fields: dict[str, Any]) -> None:
        """Whoever it is given to; only email accounts are warmed up."""
        body = {"providerId": "refused", "name": "P", **fields}
        assert api.refused("POST", "/messaging/providers/twilio", body) == (400, "general_argument_invalid")
        same = f"/messaging/providers/twilio/{create(api, 'twilio')['$id']}"
        assert api.refused("PATCH", same, fields) == (400, "general_argument_invalid")
        assert api.ok("GET", same.replace("twilio/", ""))["limits"]["perSecond"] is None

    def test_a_pause_says_when_it_ends(self, api: Api) -> None:
        create(api, "sendgrid", "paused", **SENDGRID, enabled=True)
        with api.engine.begin() as connection:
            number = providers.find(connection, 1, "paused")
            provider_stops.stop_for(connection, number, "no credit", action=Action.QUOTA)
        read = api.ok("GET", "/messaging/providers/paused")
        assert read["stoppedUntil"] > read["stoppedAt"]


def test_providers_are_listed_by_what_they_are(api: Api) -> None:
    """By name, kind, channel and whether they are enabled; or by a search."""
    with api.engine.begin() as connection:
        connection.execute(text("DELETE FROM providers"))
    create(api, "smtp", "mail", host="mx.example.org", fromEmail="a@shop.example", enabled=True)
    create(api, "fcm", "android")
    create(api, "twilio", "texts")

    def ids(*queries: str, **params: str) -> list[str]:
        found = api.ok("GET", "/messaging/providers", queries=queries, **params)
        assert found["total"] == len(found["providers"])
        return [provider["$id"] for provider in found["providers"]]

    assert ids() == ["mail", "android", "texts"]
    assert ids(query("equal", "enabled", True)) == ["mail"]
    assert ids(query("equal", "type", "push", "sms")) == ["android", "texts"]
    assert ids(query("equal", "provider", "fcm")) == ["android"]
    assert ids(search="text") == ["texts"]
    assert api.refused("GET", "/messaging/providers", queries=(query("equal", "credentials", "x"),)) == (
        400,
        "general_query_invalid",
    )


def test_providers_need_their_scopes(api: Api) -> None:
    """Reading is not writing."""
    create(api, "sendgrid", "guarded")
    reader = {"x-appwrite-key": api.new_key("providers.read")}
    assert api.call("GET", "/messaging/providers/guarded", headers=reader).status_code == 200
    for method, path in (("PATCH", "/sendgrid/guarded"), ("DELETE", "/guarded"), ("POST", "/sendgrid")):
        body = {"providerId": "unique()", "name": "P"}
        denied = api.refused(method, f"/messaging/providers{path}", body, headers=reader)
        assert denied == (401, "general_unauthorized_scope")
