"""What a model cannot tell of ``retro``: whether its files are there, and who would look at them."""

from appliance.config.view import View


def check_retro(view: View) -> None:
    retro = view.config.retro
    for index, file in enumerate(retro.hashes):
        if not file.is_file():
            view.error(("retro", "hashes", index), f"{file}: no such file")
    if retro.hashes and view.config.admin is None:
        view.error(("retro", "hashes"), "nothing would be held against them: that is the admin process; configure admin")
