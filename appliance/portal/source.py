"""Where a command line gets the certificate from: an address that answers without settings, or a file saved before."""

from dataclasses import dataclass

from appliance.portal.visit import Via, Visit

HOME = "$HOME/.arcus"


@dataclass(frozen=True, slots=True)
class Source:
    """``base`` is a URL without its last slash; empty: the files lie in the current folder. ``stem``: file name without ending.

    ``proxy``: options that make curl reach ``base``.
    """

    stem: str
    base: str = ""
    proxy: str = ""

    def url(self, form: str) -> str:
        return f"{self.base}/{self.stem}.{form}"

    def fetch(self, form: str, to: str) -> str:
        """A shell command that puts the certificate into the file ``to``."""
        if not self.base:
            return f'cp {self.stem}.{form} "{to}"'
        return f'curl -fsS {self.proxy}{self.url(form)} -o "{to}"'

    @property
    def kept(self) -> str:
        """A shell command that keeps the certificate in the home folder, for tools with a store of their own."""
        return f'mkdir -p "{HOME}" && {self.fetch("pem", f"{HOME}/{self.stem}.pem")}'

    @property
    def kept_file(self) -> str:
        return f"{HOME}/{self.stem}.pem"

    @property
    def bundled(self) -> str:
        """The same, and a bundle of the system's CAs with it: most tools take one file for all that they trust."""
        stores = "/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem"
        search = f'for f in {stores}; do [ -r "$f" ] && break; done'
        return f'{self.kept} && {search} && cat "$f" "{self.kept_file}" > "{self.bundle_file}"'

    @property
    def bundle_file(self) -> str:
        return f"{HOME}/{self.stem}-bundle.pem"


def source_of(visit: Visit, name: str, scheme: str, stem: str) -> Source:
    """What works for this visitor as pasted. ``scheme``: how its listener is spoken to, ``http``, ``https`` or ``socks5``."""
    if visit.via is Via.SOCKS:
        return Source(stem, f"http://{name}", f"-x socks5h://{visit.listener} ")
    if visit.via is Via.TRANSPARENT or scheme == "https":
        # a listener with TLS has a certificate for a name that is not known here: the proxy that is set already leads there
        return Source(stem, f"http://{name}")
    return Source(stem, f"http://{visit.listener}")
