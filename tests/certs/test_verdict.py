import pytest

from appliance.domain.reason import Reason
from certs.verdict import Verdict, from_code
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF


def test_a_missing_issuer_is_incomplete_only_for_a_leaf_that_says_where_to_get_it():
    root = forge.world().root
    plain = forge.issue(LEAF, root).certificate
    addressed = forge.issue(LEAF.but(extra=((forge.ISSUER_ADDRESS, False),)), root).certificate
    assert from_code(20, 0, addressed).reason is Reason.UPSTREAM_CERT_INCOMPLETE
    for depth, certificate in ((0, plain), (1, addressed), (0, None)):
        assert from_code(20, depth, certificate).reason is Reason.UPSTREAM_CERT_UNTRUSTED


@pytest.mark.parametrize("code", range(1, 100))
def test_every_code_is_a_refusal_with_a_word_of_its_own_kind(code):
    verdict = from_code(code)
    assert verdict.reason.word.startswith("upstream_cert_")
    assert verdict.code == code
    assert verdict.text.startswith(verdict.reason.word)


def test_zero_is_ok():
    assert from_code(0) == Verdict(Reason.OK)
    assert from_code(0).text == "ok"
