"""The application of the admin listener: routes, and what stands before them."""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from appliance.storage.sqlite import StoreError
from appliance.web.answers import Answers, Fault
from appliance.web.audit import AuditPages, Busy
from appliance.web.coverage import CoveragePages
from appliance.web.exclusions import ExclusionPages
from appliance.web.guard import KnownHost, SafeHeaders, SameOrigin
from appliance.web.install import InstallPages
from appliance.web.login import START, LoginPages
from appliance.web.quarantine import QuarantinePages
from appliance.web.readiness import ReadinessPages
from appliance.web.retro import RetroPages
from appliance.web.revocation import RevocationPages
from appliance.web.services import Services
from appliance.web.sessions import Sessions
from appliance.web.signin import SignIn
from appliance.web.static_files import StaticFiles
from appliance.web.system import SystemPages
from appliance.web.tenants import TenantPages

MAX_BODY = 16 * 1024
_ADVICE = {404: "Start at /audit.", 405: "docs/admin.md says which methods a path has.", 413: "Send less."}


def build(services: Services) -> ASGIApp:
    """The application, ready to serve. Outermost first: headers, Host, origin, sign-in, then the routes."""
    answers, sessions = Answers(services.health), Sessions(services.clock)
    audit = AuditPages(services, answers)
    application = Starlette(
        routes=routes(services, answers, sessions, audit),
        exception_handlers=_handlers(answers, audit),
        max_body_size=MAX_BODY,
    )
    # no redirect between /x and /x/: it would be built from the Host header
    application.router.redirect_slashes = False
    signed_in = SignIn(application, answers, sessions, services.verifier)
    return SafeHeaders(KnownHost(SameOrigin(signed_in, answers), services.hosts))


def _handlers(answers: Answers, audit: AuditPages) -> dict[Any, Any]:
    async def refused(request: Request, error: HTTPException) -> Response:
        advice = _ADVICE.get(error.status_code, "Check the request.")
        return await answers.fault(request, Fault(error.status_code, error.detail, advice, dict(error.headers or {})))

    async def broken(request: Request, _: Exception) -> Response:
        return await answers.fault(request, Fault(500, "This is our fault", "The log of the admin process has the details."))

    return {HTTPException: refused, StoreError: audit.failed, Busy: audit.failed, Exception: broken}


def routes(services: Services, answers: Answers, sessions: Sessions, audit: AuditPages) -> list[Route]:
    """Every path there is; docs/admin.md names them all, and a test fails for one that is not there."""
    login, system = LoginPages(answers, sessions, services.verifier), SystemPages(services)
    tenants, static, install = TenantPages(services, answers), StaticFiles(answers), InstallPages(services, answers)
    readiness = ReadinessPages(services, answers)
    return [
        Route("/", _start),
        Route("/login", login.form, methods=["GET"]),
        Route("/login", login.submit, methods=["POST"]),
        Route("/logout", login.logout, methods=["POST"]),
        Route("/audit", audit.list_page),
        Route("/audit.json", audit.list_json),
        Route("/audit/{event_id}.json", audit.event_json),
        Route("/audit/{event_id}", audit.event_page),
        Route("/tenants", tenants.list_page),
        Route("/tenants.json", tenants.list_json),
        Route("/tenants/{tenant_id}/install", install.page),
        Route("/tenants/{tenant_id}/install/{file}", install.file),
        Route("/tenants/{tenant_id}/readiness", readiness.page),
        Route("/tenants/{tenant_id}/readiness.json", readiness.json),
        Route("/ca/{file}", tenants.certificate),
        *_exclusions(services, answers),
        *_coverage(services, answers),
        *_quarantine(services, answers),
        *_retro(services, answers),
        Route("/api/v1/audit", audit.list_json),
        Route("/api/v1/audit/{event_id}", audit.event_json),
        Route("/api/v1/tenants", tenants.list_json),
        Route("/api/v1/tenants/{tenant_id}/readiness", readiness.json),
        Route("/health", system.health),
        Route("/ready", system.ready),
        Route("/metrics", system.metrics),
        Route("/static/{name}", static.serve),
        Route("/pki/{rest:path}", RevocationPages(services.revocations, answers).answer, methods=["GET", "POST"]),
    ]


def _exclusions(services: Services, answers: Answers) -> list[Route]:
    if services.exclusions is None:
        return []
    pages = ExclusionPages(services.exclusions, answers)
    return [
        Route("/exclusions", pages.list_page, methods=["GET"]),
        Route("/exclusions", pages.add, methods=["POST"]),
        Route("/exclusions.json", pages.list_json),
        Route("/exclusions/{id}.json", pages.one_json),
        Route("/exclusions/{id}", pages.one_page),
        Route("/exclusions/{id}/{action}", pages.decide, methods=["POST"]),
        Route("/api/v1/exclusions", pages.list_json, methods=["GET"]),
        Route("/api/v1/exclusions", pages.add, methods=["POST"]),
        Route("/api/v1/exclusions/{id}", pages.one_json),
        Route("/api/v1/exclusions/{id}/{action}", pages.decide, methods=["POST"]),
    ]


def _coverage(services: Services, answers: Answers) -> list[Route]:
    if services.coverage is None:
        return []
    pages = CoveragePages(services.coverage, services, answers)
    return [
        Route("/coverage", pages.page),
        Route("/coverage.json", pages.json),
        Route("/api/v1/coverage", pages.json),
    ]


def _quarantine(services: Services, answers: Answers) -> list[Route]:
    if services.quarantine is None:
        return []
    pages = QuarantinePages(services.quarantine, answers)
    return [
        Route("/quarantine", pages.list_page),
        Route("/quarantine.json", pages.list_json),
        Route("/quarantine/{tenant}/{id}.json", pages.one_json),
        Route("/quarantine/{tenant}/{id}", pages.one_page),
        Route("/quarantine/{tenant}/{id}/release", pages.release, methods=["POST"]),
        Route("/quarantine/{tenant}/{id}/delete", pages.delete, methods=["POST"]),
        Route("/api/v1/quarantine", pages.list_json),
        Route("/api/v1/quarantine/{tenant}/{id}", pages.one_json),
        Route("/api/v1/quarantine/{tenant}/{id}/release", pages.release, methods=["POST"]),
        Route("/api/v1/quarantine/{tenant}/{id}/delete", pages.delete, methods=["POST"]),
    ]


def _retro(services: Services, answers: Answers) -> list[Route]:
    if services.retro is None:
        return []
    pages = RetroPages(services.retro, services.tenants, answers)
    return [
        Route("/retro", pages.list_page, methods=["GET"]),
        Route("/retro.json", pages.list_json),
        Route("/retro/run", pages.run, methods=["POST"]),
        Route("/retro/{tenant}/{sha256}.json", pages.one_json),
        Route("/retro/{tenant}/{sha256}", pages.one_page),
        Route("/api/v1/retro", pages.list_json, methods=["GET"]),
        Route("/api/v1/retro/run", pages.run, methods=["POST"]),
        Route("/api/v1/retro/{tenant}/{sha256}", pages.one_json),
    ]


async def _start(_: Request) -> Response:
    return RedirectResponse(START, 303)
