"""What a model cannot tell of ``retro``: whether its files are there, and who would look at them."""

from appliance.config.messages import missing
from appliance.config.view import View


def check_retro(view: View) -> None:
    retro = view.config.retro
    for index, file in enumerate(retro.hashes):
        if not file.is_file():
            view.error(("retro", "hashes", index), f"{file}: no such file")
    tenants, known = retro.samples.tenants, view.names("tenant")
    for index, name in enumerate(tenants):
        if name not in known:
            view.error(("retro", "samples", "tenants", index), missing("tenant", name, known))
    if tenants and view.config.admin is None:
        view.error(
            ("retro", "samples", "tenants"), "nothing would judge them again, or delete what is too old; configure admin"
        )
    if retro.hashes and view.config.admin is None:
        view.error(("retro", "hashes"), "nothing would be held against them: that is the admin process; configure admin")
