from __future__ import annotations

import random

import pytest
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.http2_headers import NO_FIELDS, Fields, HeaderDecoder, HeaderEncoder

PSEUDO = Fields((":method", "POST"), (":scheme", "https"), (":authority", "api.push.apple.com"))
SHARED = (NO_FIELDS, Fields(("authorization", "x"), ("x-a", "1"), ("x-c", "2")), Fields(("x-b", "y" * 300)))
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
        shared = dice.choice(SHARED)
        block = encoder.request_block(PSEUDO, path, fields, shared)
        assert _decode(decoder, block) == [*PSEUDO.pairs, (":path", path), *shared.pairs, *fields]


@given(st.lists(st.tuples(st.sampled_from(["200", "400", "410"]), st.sampled_from("abc"), st.booleans()), max_size=30))
def test_remembered_answers_decode_as_they_would_afresh(answers: list[tuple[str, str, bool]]) -> None:
    """A decoder that remembers blocks agrees with one that does not, while the table changes under both."""
    encoder, ours, reference = Encoder(), HeaderDecoder(), Decoder()
    for status, value, indexed in answers:
        block = encoder.encode([(":status", status), ("apns-id", value, not indexed)])
        assert list(ours.decode(block, raw=True)) == list(reference.decode(block, raw=True))


_TEXT = st.binary(max_size=5).map(lambda text: bytes([len(text)]) + text)
_FIELD = st.one_of(
    st.integers(0x80, 0xBF).map(lambda first: bytes([first])),  # of the static table, and one beyond it
    st.tuples(st.sampled_from([b"\x00", b"\x10"]), _TEXT, _TEXT).map(b"".join),
    st.tuples(st.integers(1, 14).map(lambda first: bytes([first])), _TEXT).map(b"".join),
    st.binary(max_size=4),
)


@given(st.lists(_FIELD, max_size=6).map(b"".join))
def test_any_bytes_decode_as_they_would_elsewhere(block: bytes) -> None:
    """Plain fields are read without hpack: with the same result, and the same refusals."""
    try:
        expected = list(Decoder().decode(block, raw=True))
    except HPACKError as error:
        with pytest.raises(type(error)):
            HeaderDecoder().decode(block, raw=True)
    else:
        assert list(HeaderDecoder().decode(block, raw=True)) == expected


def test_a_plain_block_beyond_the_limit_is_refused() -> None:
    """As any other is."""
    decoder = HeaderDecoder()
    decoder.max_header_list_size = 100
    with pytest.raises(OversizedHeaderListError):
        decoder.decode(b"\x00\x01a\x01b" * 4, raw=True)
