"""The benchmark of the site runs, and what it is measured on is what people would have."""

from __future__ import annotations

import pytest

from suite import plan
from suite.records import fault_of
from tests.benchmarks import bench_site, generated


def test_generated_records_are_valid_fresh_and_the_same_every_time() -> None:
    made = list(generated.records(100))
    assert len(made) >= 100 and not any(map(fault_of, made)) and all(map(plan.is_fresh, made))
    assert [record.cell for record in made] == [record.cell for record in generated.records(100)]
    assert len({(r.task, r.method, str(r.hyperparameters)) for r in made}) == len(made) // generated.RECORDS_A_ROW


def test_the_benchmark_names_what_is_too_slow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench_site.main(["--records", "100", "--no-browser"]) == 0
    monkeypatch.setattr(bench_site, "BUILD_SECONDS", 0.0)
    assert bench_site.main(["--records", "100", "--no-browser"]) == 1
    assert "too slow: build" in capsys.readouterr().err
