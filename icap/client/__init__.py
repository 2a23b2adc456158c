"""The ICAP client of the appliance: ``IcapService`` adapts one message after another over pooled connections."""

from icap.client.body import Body
from icap.client.message import Adapted, Identity, Message
from icap.client.room import Room
from icap.client.service import IcapService
from icap.client.stats import ServiceEvent, ServiceStats
from icap.client.tuning import Tuning
from icap.protocol.httphead import HttpHead, encapsulate, parse_head, repair

__all__ = [
    "Adapted",
    "Body",
    "HttpHead",
    "IcapService",
    "Identity",
    "Message",
    "Room",
    "ServiceEvent",
    "ServiceStats",
    "Tuning",
    "encapsulate",
    "parse_head",
    "repair",
]
