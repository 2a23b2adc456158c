"""C25: proxy.pac, run by a JavaScript engine."""

import json
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.portal import Pac
from appliance.portal.pac import pac

NODE = shutil.which("node") or shutil.which("nodejs")
needs_node = pytest.mark.skipif(NODE is None, reason="no JavaScript engine (node) is installed")
OWN = ("arcus.internal", "check.arcus.internal")
RUN = """
const vm = require("vm");
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
const answers = asked.files.map(({ file, hosts }) => {
  const context = vm.createContext({});
  vm.runInContext(file, context, { timeout: 5000 });
  return hosts.map((host) => context.FindProxyForURL(`https://${host}/x`, host));
});
console.log(JSON.stringify(answers));
"""


def evaluate(*files: tuple[bytes, list[str]]) -> list[list[str]]:
    """What each file says of its hosts. The context has none of a browser's PAC functions: the file needs none."""
    asked = json.dumps({"files": [{"file": file.decode("ascii"), "hosts": hosts} for file, hosts in files]})
    done = subprocess.run([str(NODE), "-e", RUN], input=asked, capture_output=True, text=True, check=True, timeout=60)
    answers: list[list[str]] = json.loads(done.stdout)
    return answers


def made(listener: str = "http://192.0.2.1:3128", **fields: Any) -> bytes:
    return pac(Pac.model_validate(fields), listener, OWN)


RULES = {
    "direct_hosts": ["exact.test", ".corp.test", "*.wild.test", ".internal"],
    "direct_networks": ["10.0.0.0/8", "172.16.0.0/12", "192.0.2.128/25", "198.51.100.7/32", "2001:db8::/33", "fd00::/8"],
}
PROXIED = "PROXY 192.0.2.1:3128"


@needs_node
@pytest.mark.parametrize("fields", [{}, RULES])
def test_c25_loopback_is_never_sent_to_the_proxy(fields: dict[str, Any]) -> None:
    assert evaluate((made(**fields), ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])) == [["DIRECT"] * 5]


@needs_node
def test_c25_the_bypass_list_is_honoured() -> None:
    direct = [
        "exact.test", "EXACT.test", "exact.test.", "corp.test", "a.corp.test", "a.b.corp.test", "wild.test", "x.wild.test",
        "10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.0.2.128", "192.0.2.255", "198.51.100.7",
        "2001:db8::1", "[2001:db8:7fff:ffff::1]", "fd12:3456::1", "2001:db8::",
    ]  # fmt: skip
    proxied = [
        "x.exact.test", "xcorp.test", "corp.test.evil", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0",
        "192.0.2.127", "198.51.100.6", "198.51.100.8", "2001:db8:8000::", "2001:db7::1", "fc00::1", "::", "1::2::3",
        "plain", "example.com", *OWN,
    ]  # fmt: skip
    found_direct, found_proxied = evaluate((made(**RULES), direct), (made(**RULES), proxied))
    assert dict(zip(direct, found_direct, strict=True)) == dict.fromkeys(direct, "DIRECT")
    assert dict(zip(proxied, found_proxied, strict=True)) == dict.fromkeys(proxied, PROXIED)


@needs_node
def test_c25_which_proxies_and_what_happens_without_them() -> None:
    several = ["proxy.corp.test:8080", "https://secure.test:8443", "socks5://[2001:db8::1]:1080"]
    files = [made(proxies=several), made(proxies=several, fallback_direct=True), made(""), made(fallback_direct=True)]
    listed = "PROXY proxy.corp.test:8080; HTTPS secure.test:8443; SOCKS5 [2001:db8::1]:1080; SOCKS [2001:db8::1]:1080"
    answers = evaluate(*((file, ["example.com"]) for file in files))
    assert answers == [[listed], [f"{listed}; DIRECT"], ["DIRECT"], [f"{PROXIED}; DIRECT"]]


@needs_node
def test_c25_plain_names_go_direct_only_where_that_is_said() -> None:
    assert evaluate((made(), ["intranet"]), (made(plain_names_direct=True), ["intranet"])) == [[PROXIED], ["DIRECT"]]


@needs_node
@pytest.mark.security
@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=6), st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_c25_no_host_becomes_code(configured: list[str], hosts: list[str]) -> None:
    """The file is put together from what the configuration would refuse, and asked about what no browser would ask."""
    nasty = [*configured, '"];evil();//', "*/evil()/*", "</script>", "__proto__", "hasOwnProperty"]
    config = Pac.model_construct(
        direct_hosts=nasty, direct_networks=[], proxies=[], plain_names_direct=False, fallback_direct=False
    )
    answers = evaluate((pac(config, "http://192.0.2.1:3128", OWN), [*hosts, "constructor", "__proto__", "toString"]))
    assert set(answers[0]) <= {"DIRECT", PROXIED}


def test_c25_the_file_is_ascii_and_holds_no_markup() -> None:
    config = Pac.model_construct(
        direct_hosts=["</script>", "bücher"], direct_networks=[], proxies=[], plain_names_direct=False, fallback_direct=False
    )
    file = pac(config, "", OWN)
    assert b"</" not in file
    assert file.isascii()
