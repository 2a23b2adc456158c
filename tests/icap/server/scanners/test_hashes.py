"""ICP-13: the hash list: exact, bounded, replaced whole when a file changes, and kept when the new one is bad."""

import hashlib
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.reason import Reason
from icap.server.scanners.hash_list import MAX_FLAWS, MAX_LINE, UNNAMED, load, parse_line
from icap.server.scanners.hashes import HashScanner, HashSettings
from icap.server.scanners.scanner import ScanOutcome
from icap.server.scanners.watched import Flawed
from tests.icap.server.scanners.scripted import pieces

A, B = hashlib.sha256(b"a"), hashlib.sha256(b"b")


def scanner(*files: Path, most: int = 100) -> HashScanner:
    return HashScanner(HashSettings(files, most))


@given(st.binary(max_size=200))
def test_lines_are_entries_nothing_or_refused(line: bytes) -> None:
    try:
        entry = parse_line(line)
    except ValueError:
        return
    assert entry is None or len(entry[0]) == 32


@given(st.binary(min_size=32, max_size=32), st.booleans(), st.text("abc. -[]", max_size=30))
def test_every_entry_is_read_as_written(digest: bytes, upper: bool, name: str) -> None:
    text = digest.hex().upper() if upper else digest.hex()
    assert parse_line(f"{text} {name}\r\n".encode()) == (digest, name.strip())


@pytest.mark.parametrize("line", [b"abcd", b"g" * 64, b"a" * 63, b"a" * 65, b"a" * 64 + b" \x01", b"0x" + b"a" * 62])
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_line(line)


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.sampled_from(["", "X", "Y.1"])), max_size=60))
def test_a_list_finds_what_is_in_it_and_nothing_else(entries: list[tuple[bytes, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "list"
        file.write_text("".join(f"{digest.hex()} {name}\n" for digest, name in entries))
        found = load([file], 1000)
    for digest, _ in entries:
        listed = {name or UNNAMED for other, name in entries if other == digest}
        assert found.find(digest) in listed
    known = {digest for digest, _ in entries}
    for digest, _ in entries:
        near = bytes((*digest[:-1], digest[-1] ^ 1))
        assert near in known or found.find(near) is None


async def test_icp_13_a_listed_body_is_found_by_its_name_over_several_files(tmp_path: Path) -> None:
    (tmp_path / "one").write_text(f"# ours\n\n{A.hexdigest()} Test.Bad\n")
    (tmp_path / "two").write_text(B.hexdigest())
    listed = scanner(tmp_path / "one", tmp_path / "two")
    await listed.reload()
    found = await listed.scan(pieces(b"", b"a"))
    assert (found.outcome, found.signature, found.sha256) == (ScanOutcome.INFECTED, "Test.Bad", A.hexdigest())
    assert (await listed.scan(pieces(b"b"))).signature == UNNAMED
    assert (await listed.scan(pieces(b"c"))).outcome is ScanOutcome.CLEAN


async def test_icp_13_a_changed_file_is_read_and_changes_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text(A.hexdigest())
    listed = scanner(file)
    await listed.reload()
    before = listed.fingerprint
    await listed.reload()
    assert listed.fingerprint == before
    file.write_text(f"{B.hexdigest()} Other\n")
    await listed.reload()
    assert listed.fingerprint != before
    assert (await listed.scan(pieces(b"a"))).outcome is ScanOutcome.CLEAN
    assert (await listed.scan(pieces(b"b"))).signature == "Other"
    other = scanner(file)
    await other.reload()
    assert other.fingerprint == listed.fingerprint


async def test_icp_13_a_bad_line_is_named_and_the_old_list_stays(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text(A.hexdigest())
    listed = scanner(file)
    await listed.reload()
    before = listed.fingerprint
    file.write_text(f"{B.hexdigest()}\nnot a digest\n")
    await listed.reload()
    assert f"{file}:2: not a SHA-256" in listed.health.detail
    assert listed.health.up
    assert listed.fingerprint == before
    assert (await listed.scan(pieces(b"a"))).outcome is ScanOutcome.INFECTED
    file.write_text(f"{B.hexdigest()}\n")
    await listed.reload()
    assert listed.health.detail == ""
    assert (await listed.scan(pieces(b"b"))).outcome is ScanOutcome.INFECTED


async def test_icp_12_without_a_list_there_is_no_verdict_and_a_later_one_is_used(tmp_path: Path) -> None:
    file = tmp_path / "list"
    listed = scanner(file)
    assert (await listed.scan(pieces(b"c"))).outcome is ScanOutcome.ERROR
    await listed.start()
    try:
        result = await listed.scan(pieces(b"c"))
        assert (result.outcome, result.reason) == (ScanOutcome.ERROR, Reason.SCANNER_UNREACHABLE)
        assert not listed.health.up
        file.write_text(A.hexdigest())
        await listed.reload()
        assert (await listed.scan(pieces(b"c"))).outcome is ScanOutcome.CLEAN
    finally:
        await listed.close()


@pytest.mark.security
async def test_icp_13_a_file_that_could_not_be_read_is_tried_again_though_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights given after the file was written, a moment without descriptors: the file itself shows no sign of either."""
    file = tmp_path / "list"
    file.write_text(f"{A.hexdigest()}\n")
    judge = scanner(file)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as denied:
        denied.setattr(Path, "open", refuse)
        await judge.reload()
        assert judge.health.detail == f"{file}: Permission denied"
    await judge.reload()
    assert judge.health.detail == ""
    assert (await judge.scan(pieces(b"a"))).outcome is ScanOutcome.INFECTED


def test_the_limit_of_entries_is_exact(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("".join(f"{number:064x}\n" for number in range(10)))
    assert len(load([file], 10)) == 10
    with pytest.raises(Flawed, match=r"list:10: more than 9 entries"):
        load([file], 9)


def test_bad_lines_are_told_up_to_a_limit_and_a_file_without_lines_is_no_line_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("x\n" * 1000)
    with pytest.raises(Flawed) as caught:
        load([file], 10)
    assert str(caught.value).count("list:") == MAX_FLAWS
    file.write_bytes(b"a" * (8 << 20))
    tracemalloc.start()
    with pytest.raises(Flawed, match="list:1: "):
        load([file], 10)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    file.write_text("a" * 64 + " " + "n" * MAX_LINE)
    assert len(load([file], 10)) == 1


def test_icp_13_a_million_entries_take_36_bytes_each(tmp_path: Path) -> None:
    file = tmp_path / "list"
    with file.open("w") as stream:
        for number in range(1_000_000):
            stream.write(f"{hashlib.sha256(number.to_bytes(4)).hexdigest()} Family.{number % 100}\n")
    listed = load([file], 1_000_000)
    assert sum(map(len, listed.buckets)) == 36_000_000
    assert len(listed.names) < 2000
    assert listed.find(hashlib.sha256((777_777).to_bytes(4)).digest()) == "Family.77"
    assert listed.find(hashlib.sha256(b"no").digest()) is None
