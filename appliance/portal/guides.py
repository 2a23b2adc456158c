"""How a CA is installed, by platform and tool: steps for a person, command lines that work as they are pasted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.portal.source import Source


@dataclass(frozen=True, slots=True)
class Command:
    """``shell``: sh or powershell. ``text`` is one line."""

    about: str
    text: str
    shell: str = "sh"


@dataclass(frozen=True, slots=True)
class Guide:
    """``key`` is an anchor on the page. ``notes`` say what to expect, limits included."""

    key: str
    title: str
    steps: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
    notes: tuple[str, ...] = ()


def guides(source: Source) -> tuple[Guide, ...]:
    return tuple(make(source) for make in _ALL)


def _windows(source: Source) -> Guide:
    file = f"{source.stem}.cer"
    get = f"iwr -UseBasicParsing {source.url('cer')} -OutFile {file}; " if source.base else ""
    return Guide(
        "windows",
        "Windows",
        (
            "Open the downloaded .cer file and choose “Install Certificate”.",
            "Choose “Local Machine” (or “Current User” without administrator rights), then “Place all certificates in the "
            "following store” and the store “Trusted Root Certification Authorities”.",
        ),
        (
            Command("All users (PowerShell as administrator)", f"{get}certutil -addstore -f Root {file}", "powershell"),
            Command("This user only (PowerShell)", f"{get}certutil -user -addstore Root {file}", "powershell"),
        ),
        (
            "For a whole domain: Group Policy, Computer Configuration, Policies, Windows Settings, Security Settings, Public "
            "Key Policies, Trusted Root Certification Authorities, Import.",
            "Edge, Chrome and most programs use this store. Firefox uses it as well, unless it was told not to.",
        ),
    )


def _macos(source: Source) -> Guide:
    file = f"/tmp/{source.stem}.pem"  # noqa: S108 - on the person's own computer
    add = f"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}"
    return Guide(
        "macos",
        "macOS",
        (
            "Open the Apple profile, then System Settings, General, Device Management, and install it there.",
            "Or open the .cer file, add it to the keychain “System”, open it there and set “When using this certificate” to "
            "“Always Trust”.",
        ),
        (Command("All users (Terminal)", f"{source.fetch('pem', file)} && {add}"),),
        ("Safari, Chrome and most programs use the keychain. Managed Macs get the profile from their MDM.",),
    )


def _ios(_: Source) -> Guide:
    return Guide(
        "ios",
        "iPhone and iPad",
        (
            "Open this page in Safari, download the Apple profile and allow it.",
            "Settings, Profile Downloaded (or General, VPN & Device Management): install it.",
            "Settings, General, About, Certificate Trust Settings: switch on full trust for the certificate. Without this step "
            "the profile is installed and nothing trusts it.",
        ),
        notes=("Devices that are managed by an MDM get the profile from there and need no switch.",),
    )


def _android(_: Source) -> Guide:
    return Guide(
        "android",
        "Android",
        (
            "Download the .cer file.",
            "Settings, Security, More security settings, Encryption & credentials, Install a certificate, CA certificate, "
            "“Install anyway”, then choose the file. The names of the menus differ from maker to maker.",
        ),
        notes=(
            "A certificate installed by hand goes into the user's store. Chrome and the system's browser trust it; other apps "
            "do not since Android 7, unless their maker allowed it. No setting on the phone changes that.",
            "Firefox for Android: Settings, About Firefox, tap the logo five times; then Settings, Secret Settings, “Use third "
            "party CA certificates”.",
            "On managed devices the MDM installs it for the work profile.",
        ),
    )


def _linux(source: Source) -> Guide:
    debian, redhat = (
        f"/usr/local/share/ca-certificates/{source.stem}.crt",
        f"/etc/pki/ca-trust/source/anchors/{source.stem}.pem",
    )
    nss = (
        f'mkdir -p "$HOME/.pki/nssdb" && certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n {source.stem} -i "{source.kept_file}"'
    )
    return Guide(
        "linux",
        "Linux",
        commands=(
            Command("Debian, Ubuntu", f"sudo {source.fetch('pem', debian)} && sudo update-ca-certificates"),
            Command("Red Hat, Fedora", f"sudo {source.fetch('pem', redhat)} && sudo update-ca-trust"),
            Command("Chrome, Chromium (package libnss3-tools or nss-tools)", f"{source.kept} && {nss}"),
        ),
        notes=("curl, wget, git, apt, dnf, Go and Ruby use the system's store. Chrome and Firefox have stores of their own.",),
    )


def _firefox(source: Source) -> Guide:
    folder, file = "/etc/firefox/policies", f"/usr/local/share/ca-certificates/{source.stem}.crt"
    policy = f'{{"policies":{{"Certificates":{{"Install":["{file}"]}}}}}}'
    make = f"sudo mkdir -p {folder} /usr/local/share/ca-certificates && sudo {source.fetch('pem', file)}"
    return Guide(
        "firefox",
        "Firefox",
        (
            "Windows and macOS: Firefox takes over what the system trusts. Where it does not: about:config, "
            "security.enterprise_roots.enabled, true.",
            "Linux, or by hand: Settings, Privacy & Security, Certificates, View Certificates, Authorities, Import; tick "
            "“Trust this CA to identify websites”.",
        ),
        (
            Command(
                "Linux, all users, where there is no policies.json yet",
                f"{make} && [ ! -e {folder}/policies.json ] && echo '{policy}' | sudo tee {folder}/policies.json",
            ),
        ),
        ("By policy on every platform: Certificates, ImportEnterpriseRoots, true.",),
    )


def _java(source: Source) -> Guide:
    add = "keytool -importcert -noprompt -cacerts -storepass changeit"
    return Guide(
        "java",
        "Java",
        commands=(
            Command("JDK 9 and later", f'{source.kept} && sudo {add} -alias {source.stem} -file "{source.kept_file}"'),
            Command(
                "Windows: use the system's store",
                "setx JAVA_TOOL_OPTIONS -Djavax.net.ssl.trustStoreType=Windows-ROOT",
                "powershell",
            ),
        ),
        notes=("Each installed JDK has a store of its own.",),
    )


def _node(source: Source) -> Guide:
    return Guide(
        "node",
        "Node.js, npm",
        commands=(Command("This shell", f'{source.kept} && export NODE_EXTRA_CA_CERTS="{source.kept_file}"'),),
        notes=("Adds to the CAs that Node brings. Put the export into your shell's profile to keep it.",),
    )


def _python(source: Source) -> Guide:
    bundle = source.bundle_file
    export = f'export SSL_CERT_FILE="{bundle}" REQUESTS_CA_BUNDLE="{bundle}" PIP_CERT="{bundle}"'
    return Guide(
        "python",
        "Python, pip, requests",
        commands=(Command("This shell", f"{source.bundled} && {export}"),),
        notes=("The file replaces the CAs that Python uses, so it holds the system's and this one.",),
    )


def _git(source: Source) -> Guide:
    return Guide(
        "git",
        "Git",
        commands=(
            Command("Linux, macOS", f'{source.bundled} && git config --global http.sslCAInfo "{source.bundle_file}"'),
            Command("Windows: use the system's store", "git config --global http.sslBackend schannel", "powershell"),
        ),
    )


def _curl(source: Source) -> Guide:
    return Guide(
        "curl",
        "curl",
        commands=(Command("This shell", f'{source.bundled} && export CURL_CA_BUNDLE="{source.bundle_file}"'),),
        notes=("For one call: --cacert and the .pem file. On Windows, curl uses the system's store.",),
    )


_ALL: Final[tuple[Callable[[Source], Guide], ...]] = (
    _windows, _macos, _ios, _android, _linux, _firefox, _java, _node, _python, _git, _curl,
)  # fmt: skip

SYSTEMS: Final = frozenset({"windows", "macos", "ios", "android", "linux"})


def platform_of(user_agent: str) -> str:
    """Which guide the visitor needs most, by the User-Agent; empty when it does not say. iPads pass for Macs, and say so."""
    for mark, key in (
        ("Windows", "windows"), ("iPhone", "ios"), ("iPad", "ios"), ("Android", "android"), ("Mac OS X", "macos"),
        ("Macintosh", "macos"), ("Linux", "linux"), ("X11", "linux"),
    ):  # fmt: skip
        if mark in user_agent:
            return key
    return ""
