"""Acts as audit events: nothing that somebody typed gets out of its field."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.acts import event_of, tell
from appliance.audit.errors import SpoolFull
from appliance.audit.fields import CORE, FIELDS
from appliance.domain.act import Act, Actor, Via

ANY = st.text(max_size=700)


@given(ANY, ANY, ANY, st.sampled_from(Via))
def test_aud_04_an_act_has_every_field_that_all_events_have(name: str, note: str, failed: str, via: Via) -> None:
    event = event_of(Act("i", 1.5, "t", Actor(name, via, "10.0.0.1"), "ca", "main", "rotated", note, failed=failed))
    assert {field.name for field in CORE} <= set(event)
    assert {f"act.{field}" for field in event["act"]} <= set(FIELDS)
    for text in (event["user_id"], event["detail"], event["act"].get("note", ""), event["act"].get("by", "")):
        assert text.isprintable()
        assert len(text) <= 513
    assert (event["action"], event["event_type"]) == (("fail", "error") if failed else ("decide", "allow"))


def test_aud_04_acts_are_bounded_by_the_spool(tmp_path: Path) -> None:
    act = Act("i", 1.5, "t", Actor("a"), "ca", "main", "rotated")
    with pytest.raises(SpoolFull):
        tell(tmp_path, 10, [act])
    tell(tmp_path, 100_000, [act, act])
    (whole,) = [file for file in tmp_path.glob("*.seg") if file.stat().st_size]
    assert [json.loads(line)["act"]["verb"] for line in whole.read_text().splitlines()] == ["rotated", "rotated"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_writes_belongs_to_the_appliance_s_user(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    os.chown(spool, 65534, 65534)
    tell(spool, 100_000, [Act("i", 1.5, "t", Actor("a"), "ca", "main", "rotated")])
    (file,) = spool.glob("*.seg")
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (65534, 0o600)


def test_acts_of_the_same_moment_do_not_replace_each_other(tmp_path: Path) -> None:
    for number in range(50):
        tell(tmp_path, 100_000, [Act(f"i{number}", 1.5, "t", Actor("a"), "ca", "main", "rotated")])
    lines = [line for file in tmp_path.glob("*.seg") for line in file.read_text().splitlines()]
    assert {json.loads(line)["id"] for line in lines} == {f"i{number}" for number in range(50)}
    assert not list(tmp_path.glob(".*"))
