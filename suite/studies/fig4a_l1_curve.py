"""Fig. 4a of the model-pruning paper: parameters left against accuracy, standard pruning of VGG16 on CIFAR-10."""

from suite.studies import Study

STUDY = Study(
    name="fig4a-l1-curve",
    title="L1 three-stage pruning of VGG16",
    source="model-pruning-paper, section 4.1, Fig. 4a",
    cells=(
        ("vgg16-cifar10", "dense", {}),
        ("vgg16-cifar10", "l1-three-stage", {"channel_ratio": 22 / 64}),
        ("vgg16-cifar10", "l1-three-stage", {"channel_ratio": 0.59}),
    ),
    reported={
        "dense validation accuracy": 0.92,
        "validation accuracy at about 35 % of the size": 0.90,
        "size left at the sixth step": 0.5,
    },
)
