"""Commands that change something: who gave them, and that it stands in the audit stream before it is done."""

import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.domain.act import Actor, Via
from appliance.domain.target import parse_ip

if TYPE_CHECKING:
    from appliance.config.root import AppConfig


def actor(environment: Mapping[str, str] = os.environ) -> Actor:
    """Who runs this command: the account, behind sudo also the person's own; and the address of an SSH session."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container with a number and no name for it
        name = f"uid {os.getuid()}"
    if (person := environment.get("SUDO_USER", "")) and person.isprintable() and person != name:
        name = f"{person[:64]} as {name}"
    address = environment.get("SSH_CONNECTION", "").partition(" ")[0]
    return Actor(name, Via.COMMAND_LINE, address if parse_ip(address) else "")


@contextmanager
def announced(
    config: "AppConfig", subject: str, tenants: Iterable[str], verb: str, note: str = "", *, on: str = "ca"
) -> Iterator[None]:
    """Tell the audit stream of an act on a CA or a key, one event for each tenant that it is for, and then let it happen.

    When it comes to nothing, a second event says so. Raises SpoolError, and nothing was done, when there is no room for it.
    """
    from appliance.app.paths import StatePaths
    from appliance.audit.acts import tell
    from appliance.domain.act import Act
    from appliance.domain.clock import SystemClock
    from appliance.domain.ids import new_task_id

    spool, room = StatePaths(config.state_dir).spool, config.audit.spool_max
    now, who = SystemClock().now(), actor()
    acts = [Act(new_task_id(), now, tenant, who, on, subject, verb, note) for tenant in tenants]
    tell(spool, room, acts)
    try:
        yield
    except BaseException as error:
        failed = str(error) or type(error).__name__
        tell(spool, room, (replace(act, id=new_task_id(), failed=failed) for act in acts))
        raise
