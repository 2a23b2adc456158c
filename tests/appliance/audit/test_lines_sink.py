import os
from pathlib import Path

import pytest

from appliance.audit.sinks.base import State
from appliance.audit.sinks.lines import JsonLinesSink

A, B, C = b'{"id":"a"}', b'{"id":"b"}', b'{"id":"c"}'


def written(sink: JsonLinesSink, *lines: bytes) -> State:
    return sink.write(lines).state


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    sink = JsonLinesSink(path)
    written(sink, A)
    written(sink, B, b"junk")
    assert path.read_bytes() == A + b"\n" + B + b"\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_came_after_the_state_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sink = JsonLinesSink(path)
    state = written(sink, A)
    written(sink, B)
    JsonLinesSink(path).open(state)
    assert path.read_bytes() == A + b"\n"


def test_a_crash_after_a_rotation_is_undone_too(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sink = JsonLinesSink(path, rotate_size=5)
    state = written(sink, A)
    written(sink, B)
    assert path.read_bytes() == B + b"\n"
    again = JsonLinesSink(path, rotate_size=5)
    again.open(state)
    written(again, B)
    assert path.read_bytes() == B + b"\n"
    assert (tmp_path / "a.1").read_bytes() == A + b"\n"


def test_rotation_keeps_so_many(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sink = JsonLinesSink(path, rotate_size=len(A) + 1, keep=2)
    for line in (A, B, C, A):
        written(sink, line)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["a", "a.1", "a.2"]
    assert [(tmp_path / name).read_bytes().strip() for name in ("a", "a.1", "a.2")] == [A, C, B]


def test_a_file_one_byte_below_the_size_is_not_rotated(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sink = JsonLinesSink(path, rotate_size=len(A) + 2)
    written(sink, A)
    written(sink, B)
    assert not (tmp_path / "a.1").exists()


def test_another_programs_rotation_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sink = JsonLinesSink(path)
    state = written(sink, A)
    path.rename(tmp_path / "moved")
    path.write_bytes(B + b"\n")
    JsonLinesSink(path).open(state)
    assert path.read_bytes() == B + b"\n"
    written(sink, C)
    assert path.read_bytes() == B + b"\n" + C + b"\n"
    assert (tmp_path / "moved").read_bytes() == A + b"\n"


def test_a_file_that_was_emptied_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sink = JsonLinesSink(path)
    state = written(sink, A)
    os.truncate(path, 0)
    JsonLinesSink(path).open(state)
    written(sink, B)
    assert path.read_bytes() == B + b"\n"


def test_a_crash_in_the_first_batch_is_undone_too(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(C)
    start = JsonLinesSink(path).open({})
    assert path.read_bytes() == C + b"\n", "what stood there is kept, and ended"
    with path.open("ab") as file:
        file.write(A + b"\n" + B[:4])
    JsonLinesSink(path).open(start)
    assert path.read_bytes() == C + b"\n"


def test_a_folder_that_cannot_be_written_is_an_error_to_try_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        JsonLinesSink(tmp_path / "file" / "a").write([A])
