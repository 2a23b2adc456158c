"""What a model cannot tell of ``quarantine``: whether its tenants exist, and who deletes what is too old."""

from appliance.config.messages import missing
from appliance.config.view import View


def check_quarantine(view: View) -> None:
    tenants, known = view.config.quarantine.tenants, view.names("tenant")
    for index, name in enumerate(tenants):
        if name not in known:
            view.error(("quarantine", "tenants", index), missing("tenant", name, known))
    if tenants and view.config.admin is None:
        view.error(
            ("quarantine", "tenants"), "nothing would delete what is too old: that is the admin process; configure admin"
        )
