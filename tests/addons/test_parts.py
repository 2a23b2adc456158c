"""Parts that clients ask for, cut out of wholes that were scanned (C7, RFC 9110 section 14)."""

import pytest

from addons.parts import Part, cut_held, take_range
from icap.client import Body
from tests.addons.flows import answered, flow, task

TEXT = bytes(range(100))


@pytest.mark.parametrize(
    ("asked", "fields", "status", "body", "part"),
    [
        ({"range": "bytes=0-"}, {}, 206, TEXT, "bytes 0-99/100"),
        ({"range": "bytes=90-"}, {}, 206, TEXT[90:], "bytes 90-99/100"),
        ({"range": "bytes=-5"}, {}, 206, TEXT[-5:], "bytes 95-99/100"),
        ({"range": "bytes=0-1"}, {}, 206, TEXT[:2], "bytes 0-1/100"),
        ({"range": "bytes=100-"}, {}, 416, b"", "bytes */100"),
        ({"range": "bytes=0-1,4-5"}, {}, 200, TEXT, None),
        ({"range": "bytes=5-", "if-range": '"a"'}, {"etag": '"a"'}, 206, TEXT[5:], "bytes 5-99/100"),
        ({"range": "bytes=5-", "if-range": '"a"'}, {"etag": '"b"'}, 200, TEXT, None),
        ({"range": "bytes=5-", "if-range": 'W/"a"'}, {"etag": 'W/"a"'}, 200, TEXT, None),
        ({"range": "bytes=5-", "if-range": "a date"}, {"last-modified": "a date"}, 206, TEXT[5:], "bytes 5-99/100"),
        ({"range": "bytes=5-", "if-range": '""'}, {}, 200, TEXT, None),
        ({"if-range": '"a"'}, {"etag": '"a"'}, 200, TEXT, None),
    ],
)  # fmt: skip
def test_players_and_resumed_downloads_get_their_part(
    asked: dict[str, str], fields: dict[str, str], status: int, body: bytes, part: str | None
) -> None:
    made = flow()
    task(made)
    made.request.headers.update(asked)
    take_range(made)
    assert not {"range", "if-range"} & {name.lower() for name in made.request.headers}
    answered(made, body=TEXT)
    assert made.response is not None
    made.response.headers.update(fields)
    cut_held(made)
    assert (made.response.status_code, made.response.raw_content) == (status, body)
    assert made.response.headers.get("content-range") == part


@pytest.mark.parametrize("status", [204, 206, 301, 404, 500])
def test_only_of_a_whole(status: int) -> None:
    made = flow()
    task(made)
    made.request.headers["range"] = "bytes=1-"
    take_range(made)
    answered(made, body=TEXT)
    assert made.response is not None
    made.response.status_code = status
    cut_held(made)
    assert (made.response.status_code, made.response.raw_content) == (status, TEXT)


def test_only_to_get() -> None:
    """HEAD has no part; of other methods no range is defined."""
    made = flow()
    task(made)
    made.request.method = "HEAD"
    made.request.headers["range"] = "bytes=1-"
    take_range(made)
    answered(made, body=TEXT)
    cut_held(made)
    assert made.response is not None
    assert made.response.status_code == 200


async def test_a_part_is_read_where_the_whole_lies() -> None:
    whole = Body()
    whole.feed(TEXT)
    whole.end()
    part = Part(whole, 10, 20)
    assert b"".join([piece async for piece in part.pieces()]) == TEXT[10:20]
    assert (part.read(8, 100), part.read(10, 5)) == (TEXT[18:20], b"")
    part.close()
    assert whole.read(0, 1) == TEXT[:1], "the whole is its owner's"
