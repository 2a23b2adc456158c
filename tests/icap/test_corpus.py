"""The targets of ``fuzzing`` with their seeds, with the seeds changed a little, and with what is made of their words."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.icap.fuzzing import TARGETS, seeds

PAIRS = [(name, seed) for name in TARGETS for seed in seeds(name)]
_WORDS = (
    *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"0", b"5", b"A", b";", b'"', b" ", b"\t", b":", b",", b"=", b"\0", b"\xff"),
    *(b"0\r\n\r\n", b"5\r\nhello\r\n", b"0; ieof\r\n\r\n", b";a=b", b"-1", b"+5", b"0x5", b"ieof", b"use-original-body=2"),
    *(b"Host: h\r\n", b"Preview: 3\r\n", b"Connection: close\r\n", b"Allow: 204\r\n", b"T: 1\r\n", b"999999999999999"),
    *(b"Encapsulated: null-body=0\r\n", b"Encapsulated: req-body=0\r\n", b"req-hdr=0, ", b"GET / HTTP/1.1\r\n\r\n"),
    *(b"OPTIONS icap://h/s ICAP/1.0\r\n", b"REQMOD icap://h/s ICAP/1.0\r\n"),
    *(b"ICAP/1.0 200 OK\r\n", b"ICAP/1.0 100 Continue\r\n\r\n"),
)
NOISE = st.lists(st.one_of(st.sampled_from(_WORDS), st.binary(max_size=8)), max_size=20).map(b"".join)


@pytest.mark.parametrize(("target", "seed"), PAIRS, ids=[f"{name}-{seed.name}" for name, seed in PAIRS])
def test_icap_c11_seeds(target: str, seed: Path) -> None:
    """ICAP-S19: nothing but our own errors, whatever comes."""
    TARGETS[target](seed.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=300)
@given(data=st.data())
def test_icap_c11_changed_seeds(target: str, data: st.DataObject) -> None:
    """ICAP-S15, ICAP-S20: bytes put in, taken out and written over, a few times."""
    wire = data.draw(st.sampled_from(seeds(target))).read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(wire)))
        end = data.draw(st.integers(start, min(len(wire), start + 6)))
        wire = wire[:start] + data.draw(st.one_of(st.sampled_from(_WORDS), st.binary(max_size=3))) + wire[end:]
    TARGETS[target](wire)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=200)
@given(wire=NOISE)
def test_icap_c11_noise(target: str, wire: bytes) -> None:
    TARGETS[target](wire)


def test_every_target_has_seeds() -> None:
    assert all(len(seeds(name)) >= 5 for name in TARGETS)
