"""A file to a configuration, or to everything that is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from appliance.config.advice import give_advice
from appliance.config.client_tls_check import check_client_tls
from appliance.config.document import MAX_BYTES, Document, DocumentError, read_document
from appliance.config.exposure import check_exposure
from appliance.config.files import check_files
from appliance.config.icap_graph import check_icap
from appliance.config.messages import told
from appliance.config.pkcs11_check import check_pkcs11
from appliance.config.quarantine_check import check_quarantine
from appliance.config.redis_check import check_redis
from appliance.config.references import check_references
from appliance.config.retro_check import check_retro
from appliance.config.root import AppConfig
from appliance.config.routing import check_routing
from appliance.config.verdict_check import check_verdicts
from appliance.config.view import NEEDED, SECTIONS, Findings, View
from appliance.domain.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that may be used. ``warnings`` are worth showing; ``text`` is the file as it was read."""

    config: AppConfig
    warnings: tuple[Problem, ...]
    text: str


def load(path: Path) -> Loaded:
    """Read and check a configuration file. Relative paths in it are taken from its folder.

    Raises:
        ConfigError: with every problem that was found, each with file and line.
    """
    return parse(read_file(path), file=str(path), base=path.absolute().parent)


def read_file(path: Path) -> bytes:
    """As much of it as may be in a configuration, and a byte more when it is longer. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(f"cannot be read: {cause}", file=str(path))]) from error


def open_document(raw: bytes | str, file: str) -> Document:
    """Raises ConfigError when it is no YAML that can be read."""
    try:
        return read_document(raw)
    except DocumentError as error:
        raise ConfigError([Problem(error.message, file=file, line=error.line)]) from error


def parse(raw: bytes | str, *, file: str, base: Path) -> Loaded:
    """As ``load``, from the file's content. Raises ConfigError."""
    document = open_document(raw, file)
    findings = Findings(file, document)
    config = _checked(document, findings, base)
    if findings.problems or config is None:
        raise ConfigError(sorted(findings.problems, key=lambda problem: problem.line))
    warnings = sorted(findings.warnings, key=lambda problem: problem.line)
    text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
    return Loaded(config, tuple(warnings), text)


_CHECKS = (
    check_references,
    check_routing,
    check_verdicts,
    check_icap,
    check_exposure,
    check_files,
    check_pkcs11,
    check_redis,
    check_quarantine,
    check_retro,
    check_client_tls,
    give_advice,
)


def _checked(document: Document, findings: Findings, base: Path) -> AppConfig | None:
    for path, line, message in document.flaws:
        findings.error(path, message, line)
    if not isinstance(document.data, dict):
        findings.error((), "no configuration: the file must hold keys such as server, tenant and escaper")
        return None
    # a section whose items are all commented out is an empty one
    data = {key: value for key, value in document.data.items() if value is not None}
    view = view_of(data, findings, base)
    if view is None:
        return None
    _not_empty(view)
    for check in _CHECKS:
        check(view)
    return view.config


def view_of(data: dict[str, Any], findings: Findings, base: Path) -> View | None:
    """Everything that is well formed. Malformed nodes are reported and left out, so that the rest is checked as well."""
    kept = {key: list(range(len(data[key]))) for key in SECTIONS if isinstance(data.get(key), list)}
    try:
        config = AppConfig.model_validate(data, context={"base": base})
    except ValidationError as error:
        problems = list(told(error, data))
        for path, message in problems:
            findings.error(path, message)
        data_left = _without(data, [path for path, _ in problems], kept)
        try:
            config = AppConfig.model_validate(data_left, context={"base": base})
        except ValidationError:
            return None
    return View(config, data, {key: kept.get(key, []) for key in SECTIONS}, findings)


def _without(data: dict[str, Any], paths: list[tuple[str | int, ...]], kept: dict[str, list[int]]) -> dict[str, Any]:
    """``data`` less the items, or whole sections, in which these paths are. ``kept`` is brought up to date."""
    bad = {path[:2] for path in paths}
    left: dict[str, Any] = {key: [] for key in NEEDED}
    for key, value in data.items():
        if key in kept:
            kept[key] = [index for index in kept[key] if (key, index) not in bad]
            left[key] = [value[index] for index in kept[key]]
        elif not any(path[:1] == (key,) for path in paths):
            left[key] = value
    return left


def _not_empty(view: View) -> None:
    for section in NEEDED:
        if view.data.get(section) == []:
            view.error((section,), f"at least one {section} is needed")
