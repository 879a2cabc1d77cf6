"""Every registered method passes the conformance test on the digits; there is no list to edit."""

from __future__ import annotations

import pytest

from suite import conformance, registry
from suite.progress import Progress


@pytest.mark.parametrize("name", sorted(registry.catalogue().methods))
def test_method_conforms_on_digits(name: str) -> None:
    cases = list(conformance.check(registry.method(name), Progress(silent=True), tasks=["vgg16-digits"]))
    assert {case.name: case.fault for case in cases if case.fault} == {}
    names = {case.name for case in cases}
    unsupported = any(each.startswith("unsupported here") for each in names)
    assert unsupported or "saves and reloads to the same outputs" in names
