"""The dialer: first the pure choice, then the connect."""

from collections.abc import Awaitable
from dataclasses import replace

from appliance.domain.errors import TaskError
from appliance.domain.notes import EscapeNotes
from appliance.egress.context import EscapeContext, Resolution
from appliance.egress.escaper import Dialed
from appliance.egress.opener import DEFAULT_LIMIT, Opener, ReaderFactory
from appliance.egress.registry import Choice, Registry


class Dialer:
    """Every failure it raises carries ``error.escape``: the path walked, the address tried, and why it ended there."""

    def __init__(self, registry: Registry, reader_factory: ReaderFactory | None = None, limit: int = DEFAULT_LIMIT) -> None:
        self.registry = registry
        self._opener = Opener(reader_factory, limit)

    async def connect(self, root: str, ctx: EscapeContext) -> Dialed:
        """A stream for one task, from the escaper named ``root``.

        Raises:
            PolicyError: EGRESS_DENIED, DENIED_BY_ESCAPER or NO_ESCAPER.
            UpstreamError: DNS, connect, or parent proxy; ``retryable`` when another try may do better.
        """
        ctx = await self._resolve_for_routers(root, ctx)
        choice = self.registry.choose(root, ctx)
        for name in choice.path:
            self.registry.stats(name).chosen += 1
        notes = EscapeNotes(path=choice.path, rules=choice.rules)
        dialed = await self._counted(choice, notes, choice.leaf.escape(ctx, self._opener, notes))
        notes.local_addr = _spell(dialed.writer.get_extra_info("sockname"))
        return dialed

    async def addresses(self, root: str, ctx: EscapeContext) -> tuple[str, ...]:
        """Where a task would go, without going there; empty where a parent proxy resolves. Raises as ``connect`` does."""
        ctx = await self._resolve_for_routers(root, ctx)
        return await self.registry.choose(root, ctx).leaf.addresses(ctx)

    def stands(self, root: str, ctx: EscapeContext, made: EscapeNotes) -> bool:
        """Whether the way that was ``made`` is the one that this task would get now, as far as that is known without asking
        anybody: the same path, and an address that may still be dialled."""
        try:
            if self.registry.wanted(root, ctx) is not None:
                return False
            choice = self.registry.choose(root, ctx)
        except TaskError:
            return False
        return choice.path == made.path and choice.leaf.admits(ctx.target, made.resolved_ip)

    async def _resolve_for_routers(self, root: str, ctx: EscapeContext) -> EscapeContext:
        """Ask the resolvers of routers that match networks against addresses, each at most once."""
        while resolver := self.registry.wanted(root, ctx):
            try:
                addresses = await self.registry.resolvers[resolver].resolve(ctx.target.host)
            except TaskError as error:
                # Going on without an answer would skip a network rule that may be there to deny.
                error.escape = EscapeNotes(path=(root,), error=str(error))
                raise
            ctx = replace(ctx, resolutions=(*ctx.resolutions, Resolution(resolver, addresses)))
        return ctx

    async def _counted(self, choice: Choice, notes: EscapeNotes, connecting: Awaitable[Dialed]) -> Dialed:
        try:
            dialed = await connecting
        except TaskError as error:
            notes.error, error.escape = str(error), notes
            choice.leaf.stats.failures[error.reason.word] += 1
            raise
        choice.leaf.stats.connected += 1
        return dialed


def _spell(sockname: tuple[str, int] | None) -> str:
    if not sockname:  # the peer has reset the connection already
        return ""
    host, port = sockname[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
