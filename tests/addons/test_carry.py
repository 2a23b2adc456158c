"""Answering in place of the server."""

from addons.carry import answer, is_ours
from tests.addons.flows import Page, answered, flow, task


def test_a_page_takes_the_place_of_the_answer() -> None:
    made = flow(http2=True)
    notes = task(made)
    answered(made, 200, b"secret")
    made.request.stream = True
    answer(made, Page(403, (("Content-Type", "text/html"), ("X-Odd", "caf\xe9 \u2603")), b"no"), notes)
    assert made.response is not None
    assert (made.response.status_code, made.response.raw_content, made.response.http_version) == (403, b"no", "HTTP/2.0")
    assert (b"X-Odd", b"caf\xe9 ?") in made.response.headers.fields
    assert (is_ours(made), made.request.stream, notes.status, notes.upstream_status) == (True, False, 403, 200)


def test_a_second_page_is_not_taken_for_the_server_s_answer() -> None:
    made = flow()
    notes = task(made)
    for status in (403, 500):
        answer(made, Page(status, (), b""), notes)
    assert (notes.status, notes.upstream_status) == (500, 0)
