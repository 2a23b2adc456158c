"""The files of the quarantine: what was written comes back, and whatever was changed in them is noticed."""

import dataclasses
import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.quarantine import Damaged, Item
from appliance.quarantine.sealed_file import FRAME, SealedFile, write
from certs.sealing import KeyRing

RING = KeyRing(b"n" * 32, [b"k" * 32])
ID = "0" * 32


def item(body: bytes) -> Item:
    return Item(ID, "acme", 1.5, "task", "bad.test", hashlib.sha256(body).hexdigest(), len(body), "Eicar", "bob", "10.0.0.7")


def sealed(body: bytes) -> bytes:
    out = io.BytesIO()
    write(out, RING, item(body), io.BytesIO(body))
    return out.getvalue()


def opened(data: bytes, tenant: str = "acme", item_id: str = ID, ring: KeyRing = RING) -> SealedFile:
    return SealedFile(io.BytesIO(data), ring, tenant, item_id)


@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME + 7])
def test_a_body_comes_back_with_what_is_known_of_it(size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    file = opened(sealed(body))
    file.verify()
    assert b"".join(file.pieces()) == body
    assert file.item == item(body)


@pytest.mark.security
def test_nothing_of_it_can_be_read_without_the_key() -> None:
    data = sealed(b"secret body " * 40)
    assert not any(text in data for text in (b"secret", b"bad.test", b"bob", b"Eicar", b"10.0.0.7"))
    for file in ((data, "blue", ID), (data, "acme", "1" * 32)):
        with pytest.raises(Damaged):
            opened(*file)
    with pytest.raises(Damaged):
        opened(data, ring=KeyRing(b"n" * 32, [b"x" * 32]))


def test_two_files_of_one_body_have_nothing_in_common_but_their_shape() -> None:
    assert sealed(b"x" * 200)[12:] != sealed(b"x" * 200)[12:]


BODY = bytes(number % 253 for number in range(2 * FRAME + 100))
FILE = sealed(BODY)


@pytest.mark.security
@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_a_flipped_octet_anywhere_is_noticed(at: int, change: int) -> None:
    data = bytearray(FILE)
    data[at] ^= change
    with pytest.raises(Damaged):
        opened(bytes(data)).verify()


@pytest.mark.security
@given(st.integers(0, len(FILE) - 1))
def test_a_file_that_is_cut_off_anywhere_is_noticed(size: int) -> None:
    with pytest.raises(Damaged):
        opened(FILE[:size]).verify()


@pytest.mark.security
def test_frames_cannot_be_cut_off_repeated_exchanged_or_added() -> None:
    frame = FRAME + 16
    start = len(FILE) - 2 * frame - 116
    head, one, two, last = FILE[:start], FILE[start:][:frame], FILE[start + frame :][:frame], FILE[-116:]
    assert head + one + two + last == FILE
    for forged in (
        head + one + two,
        head + one,
        head + two + one + last,
        head + one + one + last,
        FILE + b"x",
        FILE + last,
        FILE + two,
    ):
        with pytest.raises(Damaged):
            opened(forged).verify()


@given(st.binary(max_size=300))
def test_any_octets_are_a_damaged_file(data: bytes) -> None:
    with pytest.raises(Damaged):
        opened(data)
    with pytest.raises(Damaged):
        opened(b"ARCUSQ1\n" + data)


@pytest.mark.parametrize("body", [b"", b"shorter", b"the same length!", b"longer than it was said to be"])
def test_what_is_not_the_body_that_was_found_is_not_written_as_such(body: bytes) -> None:
    with pytest.raises(Damaged):
        write(io.BytesIO(), RING, item(b"the body's bytes"), io.BytesIO(body))


def test_a_header_that_is_too_long_is_refused() -> None:
    with pytest.raises(Damaged):
        write(io.BytesIO(), RING, dataclasses.replace(item(b""), user="x" * 20_000), io.BytesIO())
