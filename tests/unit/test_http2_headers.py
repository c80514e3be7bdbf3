from __future__ import annotations

import random

from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.http2_headers import HeaderDecoder, HeaderEncoder

PSEUDO = ((":method", "POST"), (":scheme", "https"), (":authority", "api.push.apple.com"))
CONSTANT = [("apns-topic", "com.example.app"), ("apns-push-type", "alert"), ("apns-priority", "10")]


def _decode(decoder: Decoder, block: bytes) -> list[tuple[str, str]]:
    decoded = decoder.decode(block, raw=True)
    return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in decoded]


def test_a_token_per_request_does_not_change_the_table() -> None:
    """After the first request the encoder's table holds the constant headers only, and blocks stop growing."""
    encoder = HeaderEncoder()
    sizes = []
    for number in range(500):
        fields = [("authorization", "bearer x"), *CONSTANT, ("apns-id", f"{number:032x}")]
        sizes.append(len(encoder.request_block(PSEUDO, f"/3/device/{number:064x}", fields)))
    names = {bytes(name) for name, _ in encoder.header_table.dynamic_entries}
    assert names == {b":authority", b"apns-topic", b"apns-push-type", b"apns-priority"}
    assert len(set(sizes[2:])) == 1


def test_secrets_and_tokens_are_never_indexed() -> None:
    """The path and the authorization are literals marked never-indexed (RFC 7541 section 6.2.3)."""
    block = HeaderEncoder().request_block(PSEUDO, "/3/device/abc", [("authorization", "bearer x")])
    kinds = {header[0]: type(header).__name__ for header in Decoder().decode(block, raw=True)}
    assert kinds[b":path"] == kinds[b"authorization"] == "NeverIndexedHeaderTuple"
    assert kinds[b":authority"] == "HeaderTuple"


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["apns-id", "apns-topic", "authorization", "x-a", "x-b", "content-type"]),
                st.one_of(st.sampled_from(["", "1", "application/json"]), st.text("abcé ", max_size=300)),
            ),
            max_size=8,
        ),
        max_size=12,
    ),
    st.integers(0, 2**32),
)
def test_any_run_of_requests_decodes_to_what_was_given(requests: list[list[tuple[str, str]]], seed: int) -> None:
    """Whatever is sent, in whatever order, with table sizes changing between, hpack's decoder reads it back."""
    dice = random.Random(seed)
    encoder, decoder = HeaderEncoder(), Decoder()
    for fields in requests:
        if dice.random() < 0.3:
            encoder.header_table_size = dice.choice([0, 64, 200, 4096])
        path = f"/{dice.random()}"
        block = encoder.request_block(PSEUDO, path, fields)
        assert _decode(decoder, block) == [*PSEUDO, (":path", path), *fields]


@given(st.lists(st.tuples(st.sampled_from(["200", "400", "410"]), st.sampled_from("abc"), st.booleans()), max_size=30))
def test_remembered_answers_decode_as_they_would_afresh(answers: list[tuple[str, str, bool]]) -> None:
    """A decoder that remembers blocks agrees with one that does not, while the table changes under both."""
    encoder, ours, reference = Encoder(), HeaderDecoder(), Decoder()
    for status, value, indexed in answers:
        block = encoder.encode([(":status", status), ("apns-id", value, not indexed)])
        assert list(ours.decode(block, raw=True)) == list(reference.decode(block, raw=True))
