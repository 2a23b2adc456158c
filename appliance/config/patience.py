"""The patience page: what a browser is shown while a large file is received and scanned."""

from pydantic import Field

from appliance.config.values import Node, Seconds


class Patience(Node):
    """A person who opens a large file in a browser gets a page with its progress, and then the file: ``patience`` of
    ``large_bodies``. Whatever is no navigation of a browser, and pages themselves, wait as before (or ``trickle``)."""

    after: Seconds = 5.0
    """The page comes when the scan is not over by then."""
    refresh: int = Field(2, ge=1, le=60)
    """The page asks again after so many seconds."""
    grace: Seconds = 60.0
    """A download whose page has not asked for so long is given up."""
    keep: Seconds = 600.0
    """A clean file that nobody fetches is kept for so long. It is removed at once when it was fetched."""
    per_client: int = Field(3, ge=1)
    """Downloads that one user at one address may have waiting, per worker. Further ones get no page."""
    per_tenant: int = Field(50, ge=1)
    """Likewise, of the whole tenant."""
