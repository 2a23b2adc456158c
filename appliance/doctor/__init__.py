"""An examination of this installation: `arcus doctor`."""

from appliance.doctor.examination import run
from appliance.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "run"]
