"""Which services a message would be shown to, and by which rule."""

from collections.abc import Iterator

from appliance.config.icap_graph import METHODS, leaves
from appliance.config.icap_service import IcapMethod
from appliance.config.root import AppConfig
from appliance.policy.scan_rules import DIRECTIONS, Direction, Lists, MessageFacts, ScanRules


class Scanning:
    """The rules of every auditor, as live traffic has them."""

    def __init__(self, config: AppConfig, lists: Lists) -> None:
        self._config = config
        self._rules = {auditor.name: ScanRules.compile(auditor, lists) for auditor in config.auditor}
        self._sets = {each.name: each for each in config.icap_set}
        self._chains = {each.name: each for each in config.icap_chain}

    def explain(self, auditor: str, facts: MessageFacts) -> Iterator[tuple[Direction, str, str]]:
        """For each direction: the services, or that there is no scan, and why."""
        for direction in DIRECTIONS:
            route = self._rules[auditor].choose(direction, lambda: facts)
            if not route.use:
                yield direction, "not scanned", route.why
            else:
                yield direction, self._spelled(route.use, METHODS[direction]), route.why

    def _spelled(self, name: str, method: IcapMethod) -> str:
        """``first -> second``, a set with its members in brackets, in the order in which they are asked."""
        if name in self._sets:
            known = self._sets[name]
            return f"{name} ({known.strategy}: {', '.join(leaves(self._config, name, method))})"
        if name not in self._chains:
            return name
        links = [link for link in self._chains[name].links if any(leaves(self._config, link, method))]
        ordered = links if method == "REQMOD" else list(reversed(links))
        return " -> ".join(self._spelled(link, method) for link in ordered)
