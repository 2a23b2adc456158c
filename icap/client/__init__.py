"""The ICAP client of the appliance: ``IcapService`` adapts one message after another over pooled connections."""

from icap.client.body import Body
from icap.client.chain import Chain
from icap.client.fail_policy import FailPolicy
from icap.client.message import Adapted, Identity, Message, Service
from icap.client.repeat import Repeat
from icap.client.room import Room
from icap.client.service import IcapService
from icap.client.service_set import Member, ServiceSet
from icap.client.stats import ServiceEvent, ServiceStats
from icap.client.tuning import Tuning
from icap.protocol.httphead import HttpHead, encapsulate, parse_head, repair

__all__ = [
    "Adapted",
    "Body",
    "Chain",
    "FailPolicy",
    "HttpHead",
    "IcapService",
    "Identity",
    "Member",
    "Message",
    "Repeat",
    "Room",
    "Service",
    "ServiceEvent",
    "ServiceSet",
    "ServiceStats",
    "Tuning",
    "encapsulate",
    "parse_head",
    "repair",
]
