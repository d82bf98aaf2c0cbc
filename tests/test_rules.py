"""Rules that a benchmark can switch off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vidrase
from vidrase import rules

ROOT = Path(vidrase.__file__).parent


def test_every_rule_is_asked_for_and_every_name_asked_for_is_a_rule() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py") if path.name != "rules.py")
    asked = set(re.findall(r'rules\.enabled\("([^"]+)"\)', source))
    assert asked == {rule.name for rule in rules.RULES}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_a_rule_names_its_evidence(rule: rules.Rule) -> None:
    """Figures of the record, a test that is there, or both."""
    tests = re.findall(r"tests/(\w+\.py)", rule.evidence)
    assert all((Path(__file__).parent / name).is_file() for name in tests)
    assert tests or re.search(r"[+-]?\.\d\d", rule.evidence)


def test_rules_are_on_but_within_without() -> None:
    assert rules.enabled("flow.prior")
    with rules.without("flow.prior"):
        assert not rules.enabled("flow.prior")
        with rules.without("mask"):
            assert not rules.enabled("flow.prior")
            assert not rules.enabled("mask.union")
        assert rules.enabled("mask.union")
    assert rules.enabled("flow.prior")


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError, match=r"flow\.magic"), rules.without("flow.magic"):
        pass


def test_the_rules_asked_for_are_recorded() -> None:
    with rules.watched() as asked:
        rules.enabled("blend.mix")
    assert "blend.mix" in asked
