"""The configuration of `arcus icap serve`: a file with ``icap_server``, or the appliance's own, of which it takes that part."""

from pathlib import Path
from typing import Any, Final

from appliance.config.document import Document
from appliance.config.exposure import check_exposure
from appliance.config.files import check_files
from appliance.config.load import Loaded, open_document, read_file, view_of
from appliance.config.root import AppConfig
from appliance.config.view import NEEDED, Findings
from appliance.domain.errors import ConfigError

_TAKEN: Final = ("state_dir", "log", "icap_server")


def load_icap(path: Path) -> Loaded:
    """Read and check the part of a file that the ICAP server needs; all else in it has to be keys of the appliance's.

    Raises:
        ConfigError: with every problem that was found, each with file and line.
    """
    return parse_icap(read_file(path), file=str(path), base=path.absolute().parent)


def is_standalone(path: Path) -> bool:
    """Whether a file has ``icap_server`` and nothing that only the appliance itself could use. Raises ConfigError."""
    data = open_document(read_file(path), str(path)).data
    return isinstance(data, dict) and "icap_server" in data and set(data) <= set(_TAKEN)


def parse_icap(raw: bytes | str, *, file: str, base: Path) -> Loaded:
    """As ``load_icap``, from the file's content. Raises ConfigError."""
    document = open_document(raw, file)
    findings = Findings(file, document)
    for path, line, message in document.flaws:
        findings.error(path, message, line)
    data = _part(document, findings)
    view = view_of(data, findings, base) if not findings.problems else None
    if view is not None and view.config.icap_server is not None:
        check_files(view)
        check_exposure(view)
    if view is None or findings.problems:
        raise ConfigError(sorted(findings.problems, key=lambda problem: problem.line))
    return Loaded(view.config, tuple(findings.warnings), raw if isinstance(raw, str) else raw.decode("utf-8-sig"))


def _part(document: Document, findings: Findings) -> dict[str, Any]:
    data = document.data if isinstance(document.data, dict) else {}
    for key in data:
        if key not in AppConfig.model_fields:
            findings.error((key,), "unknown key")
    if not isinstance(data.get("icap_server"), dict):
        findings.error(("icap_server",), "is needed: where the server listens, and its scanner")
    return {key: [] for key in NEEDED} | {key: data[key] for key in _TAKEN if data.get(key) is not None}
