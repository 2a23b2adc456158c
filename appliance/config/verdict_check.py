"""What a model cannot tell of ``verdict_cache``: services that there are."""

from appliance.config.view import View


def check_verdicts(view: View) -> None:
    cache = view.config.verdict_cache
    known = {service.name for service in view.config.icap_service}
    seen: set[str] = set()
    for index, each in enumerate(cache.services):
        where = ("verdict_cache", "services", index, "service")
        if each.service not in known:
            view.error(where, f"no icap_service is called {each.service!r}")
        if each.service in seen:
            view.error(where, f"{each.service!r} is listed twice")
        seen.add(each.service)
