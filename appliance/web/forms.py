"""What a form, or a JSON object of texts, says."""

import json
from urllib.parse import parse_qs

from starlette.requests import Request

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def form_fields(request: Request) -> dict[str, str]:
    """Name and first value; none of a form that is too strange to be ours."""
    try:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=8)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


async def sent_fields(request: Request) -> dict[str, str]:
    """The texts of a form or of a JSON object; what is neither, or no text, is not there."""
    if media_type(request) != JSON:
        return await form_fields(request)
    try:
        document = json.loads(await request.body())
    except (ValueError, RecursionError):
        return {}
    values = document.items() if isinstance(document, dict) else ()
    return {name: value for name, value in values if isinstance(value, str)}
