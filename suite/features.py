"""How far generated images are from real ones: the Fréchet distance between the features of a small classifier.

The formula is that of Heusel et al. 2017 (arXiv:1706.08500), the classifier our own, trained on CIFAR-10's training
images: 64 features of 32x32 pixels, where theirs is an Inception network with 2,048. So `frechet_small` is no FID, and
compares with no number but another `frechet_small` over as many images.

`python -m suite.features --data DIR` trains the classifier again, in about four minutes on one core. Ours is right on
72.4 % of CIFAR-10's test split. Another kind of processor rounds otherwise, so its file will have another hash.

Distances to the 10,000 test images: as many training images 0.007, with one class missing 0.07, one class alone 3.5,
blurred fourfold 8.9, uniform noise 14.7, an untrained generator's 19.0.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from suite.errors import ArtifactError
from suite.tasks import Recipe

WEIGHTS = Path(__file__).with_name("features.safetensors")
SHA256 = "755bb271c5cd657af274874c12ddb847b4f6067dce32677bac53c6f5410e34aa"
RECIPE = Recipe(epochs=4, batch_size=128, lr=0.2, augmentation=("crop4", "flip"))
FEATURES = 64


class Features(nn.Module):
    """Images (N, 3, 32, 32) in [-1, 1] -> features (N, 64); 92,738 parameters with `classify`; a ReLU comes last."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 24, 1), (24, 48, 2), (48, 80, 2), (80, FEATURES, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.classify = nn.Linear(FEATURES, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layers(images).mean(dim=(2, 3))
        return features


class Classifier(nn.Module):
    """The classes (N, 10) that features belong to: what the features are trained for."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.features.classify(self.features(images))
        return logits


def load(device: str = "cpu") -> Features:
    """The trained features, in eval mode; ArtifactError where the file is not the one that this code belongs to."""
    try:
        content = WEIGHTS.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{WEIGHTS.name} cannot be read ({error.strerror}): install the package again") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ArtifactError(f"{WEIGHTS.name} is not what its hash says: install the package again")
    model = Features()
    model.load_state_dict(safetensors.torch.load(content))  # float16 as stored, float32 here
    return model.requires_grad_(False).eval().to(device)


class Moments:
    """Mean and covariance of features, gathered batch by batch in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = torch.zeros(FEATURES, dtype=torch.float64)
        self.products = torch.zeros(FEATURES, FEATURES, dtype=torch.float64)

    def add(self, features: torch.Tensor) -> None:
        """Features (N, 64) of more images."""
        rows = features.detach().double().cpu()
        self.count += len(rows)
        self.sum += rows.sum(dim=0)
        self.products += rows.T @ rows

    @property
    def mean(self) -> torch.Tensor:
        return self.sum / self.count

    @property
    def covariance(self) -> torch.Tensor:
        centred = self.products - self.count * torch.outer(self.mean, self.mean)
        return centred / max(1, self.count - 1)


def frechet(one: tuple[torch.Tensor, torch.Tensor], two: tuple[torch.Tensor, torch.Tensor]) -> float:
    """The squared Fréchet distance of two Gaussians, each a mean (D,) and a covariance (D, D): 0 for the same ones.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). The last trace is that of (C1^(1/2) C2 C1^(1/2))^(1/2), symmetric
    matrices both, so that their eigenvalues are real and rounding below zero can be cut off; in float64.
    """
    (mean1, covariance1), (mean2, covariance2) = ([each.double() for each in gaussian] for gaussian in (one, two))
    values, vectors = torch.linalg.eigh(covariance1)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ covariance2 @ root).clamp_min(0).sqrt().sum()
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * shared
    return max(0.0, float(distance))


def main() -> int:
    """Train the classifier and write its weights; prints its test accuracy and their hash."""
    from suite import data, datafiles
    from suite.evaluate import OBJECTIVES, evaluate
    from suite.progress import Progress
    from suite.train import train

    parser = argparse.ArgumentParser(description="Train the classifier of frechet_small on CIFAR-10.")
    parser.add_argument("--data", type=Path, default=datafiles.default_root())
    parser.add_argument("--out", type=Path, default=Path("features.safetensors"))
    options = parser.parse_args()
    found = data.load("cifar10", options.data, "cpu")
    found = replace(found, mean=torch.full_like(found.mean, 127.5), std=torch.full_like(found.std, 127.5))
    torch.manual_seed(0)
    model, objective = Features(), OBJECTIVES["classification"]
    train(Classifier(model), found, RECIPE, objective, seed=0, progress=Progress(), label="features")
    stored = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(stored)
    judged = evaluate(Classifier(model), found, found.test, objective)
    content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in stored.items()})
    options.out.write_bytes(content)
    print(f"{options.out}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}; "
          f"test top-1 {judged['top1']:.4f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
