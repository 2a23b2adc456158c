"""D6: the event that tells of what was delivered and is found bad."""

from appliance.audit.fields import FIELDS, RETRO
from appliance.audit.finds import event_of
from appliance.domain.retro import Body, Flow, Limit, Verdict
from appliance.storage.rows import COLUMNS, to_row
from tests.appliance.audit.test_record import names_in

BODY = Body(
    "acme", "a" * 64, 7, 10.0, 20.0, Verdict.BAD, (Limit.PACKED,), "icap://s", "hashes/1.x", "tag", 5.0, "", "Evil\x00",
    "list x", 30.0, 2,
)  # fmt: skip
FLOW = Flow("task", 10.0, "response", "ann", "10.0.0.1", "a.test", "https://a.test/x")


def test_every_field_is_documented_and_every_documented_field_is_made() -> None:
    event = event_of(BODY, [FLOW], 40.0)
    made = names_in({name: value for name, value in event.items() if name != "flows"})
    made |= {f"flows.{name}" for name in event["flows"][0]}
    assert made <= set(FIELDS)
    assert {field.name for field in RETRO} <= made


def test_it_can_be_stored_and_found_as_every_event() -> None:
    event = event_of(BODY, [FLOW], 40.0)
    row = dict(zip(COLUMNS, to_row(event, "{}"), strict=True))
    assert (row["tenant_id"], row["event_type"], row["action"], row["block_reason"]) == (
        "acme",
        "error",
        "alert",
        "malware_found",
    )
    assert (row["signature"], row["target_host"], row["created_at"], row["blocked"]) == ("Evil\\x00", "a.test", 40.0, 0)
    assert len(row["id"]) == 26
    assert "1 flow" in event["detail"]


def test_the_same_told_twice_has_one_id_and_anything_else_another() -> None:
    one = event_of(BODY, [FLOW], 40.0)["id"]
    assert event_of(BODY, [FLOW], 50.0)["id"] == one
    assert event_of(BODY, [FLOW, FLOW], 40.0)["id"] != one
