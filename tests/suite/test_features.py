"""The Fréchet distance against what is known in closed form, and the classifier that belongs to this code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from suite import features
from suite.errors import ArtifactError


def test_distance_of_axis_aligned_gaussians_is_that_of_means_and_deviations() -> None:
    one = (torch.tensor([1.0, 2.0, 0.0]), torch.diag(torch.tensor([4.0, 9.0, 0.0])))
    two = (torch.tensor([0.0, 2.0, 2.0]), torch.diag(torch.tensor([1.0, 16.0, 0.25])))
    # (1 + 0 + 4) + (2 - 1)^2 + (3 - 4)^2 + (0 - 0.5)^2
    assert features.frechet(one, two) == pytest.approx(7.25, abs=1e-12)
    assert features.frechet(two, one) == pytest.approx(7.25, abs=1e-12)


def test_distance_does_not_depend_on_the_axes() -> None:
    drawn = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=drawn))
    wide, narrow = (torch.diag(torch.rand(5, dtype=torch.float64, generator=drawn)) for _ in range(2))
    mean = torch.randn(5, dtype=torch.float64, generator=drawn)
    straight = features.frechet((mean, wide), (-mean, narrow))
    turned = features.frechet((turn @ mean, turn @ wide @ turn.T), (-turn @ mean, turn @ narrow @ turn.T))
    assert turned == pytest.approx(straight, rel=1e-9)
    assert features.frechet((mean, wide), (mean, wide)) == pytest.approx(0, abs=1e-12)


def test_moments_gathered_by_batch_are_those_of_all_rows() -> None:
    rows = 1000 + torch.randn(50, features.FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = features.Moments()
    for batch in rows.split(7):
        found.add(batch)
    assert torch.allclose(found.mean, rows.mean(dim=0), rtol=1e-12)
    assert torch.allclose(found.covariance, torch.cov(rows.T), atol=1e-7)


def test_classifier_is_the_one_of_this_code_and_small() -> None:
    model = features.load()
    assert sum(each.numel() for each in model.parameters()) == 92_738
    assert features.WEIGHTS.stat().st_size <= 200_000
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 64)


def test_altered_or_missing_classifier_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(features.WEIGHTS.read_bytes())
    content[-1] ^= 1
    monkeypatch.setattr(features, "WEIGHTS", tmp_path / "features.safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        features.load()
    features.WEIGHTS.write_bytes(content)
    with pytest.raises(ArtifactError, match="not what its hash says"):
        features.load()
