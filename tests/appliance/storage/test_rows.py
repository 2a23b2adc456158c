import json
import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from appliance.storage.rows import COLUMNS, FLOATS, INTEGERS, TEXTS, to_row
from appliance.storage.schema import audit_logs

KEYS = [*TEXTS.values(), *INTEGERS.values(), *FLOATS.values(), "event_type", "blocked"]
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.just("\ud800"))


def test_every_column_but_the_number_is_filled() -> None:
    assert set(COLUMNS) == set(audit_logs.columns.keys()) - {"seq"}


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_event_is_a_row_that_sqlite_takes(event: dict[str, object]) -> None:
    row = to_row(event, json.dumps(event))
    connection = sqlite3.connect(":memory:")
    try:
        assert connection.execute(f"SELECT {', '.join('?' * len(COLUMNS))}", row).fetchone() is not None
    finally:
        connection.close()
    assert all(value is not None for value in row)
