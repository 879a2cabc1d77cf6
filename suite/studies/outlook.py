"""The outlook of the model-pruning paper: larger steps, a jump, an autoencoder with skip connections, a DCGAN."""

from suite.studies import LOSS, Figure, Finding, Line, Number, Quantity, Series, Setting, Study, Table
from suite.studies._costs import time

TASK, PLAIN, METHOD = "autoencoder-carla+skip", "autoencoder-carla", "branch-alpha"
BOTH: Setting = {"channel_ratio": 22 / 64, "order": "simultaneous"}
HALVES: Setting = {"channel_ratio": 22 / 64, "order": "encoder-first"}
JUMP: Setting = {"channel_ratio": 22 / 64, "schedule": "jump"}
LARGE: Setting = {"channel_ratio": 22 / 64, "size": 0.5}


#: What of the DCGAN is pruned, and the task that prunes it.
DCGAN = {
    "generator and discriminator at once": "dcgan-cifar10",
    "generator alone": "dcgan-cifar10+generator",
    "discriminator alone": "dcgan-cifar10+discriminator",
}
RATIO: Setting = {"channel_ratio": 22 / 64}
#: Nothing is pruned: the original is trained on as `structured` trains what it has pruned.
TRAINED_ON = ("dcgan-cifar10", "global-unstructured", {"sparsity": 0.0, "epochs": 40, "lr": 0.05})


def _trained_on() -> Line:
    task, method, setting = TRAINED_ON
    found = [Quantity(task, method, metric, setting, form="over-dense") for metric in ("frechet_small", "parameters")]
    return Line("the original, trained on for as long", "factor", (*(Number(None, each) for each in found), Number()))


def _dcgan(label: str, task: str, method: str) -> Line:
    return Line(f"{label}, {method}", "factor", (
        Number(None, Quantity(task, method, "frechet_small", RATIO, form="over-dense")),
        Number(None, Quantity(task, method, "parameters", RATIO, form="over-dense")),
        Number(None, time("speedup", task, method, RATIO)),
    ))  # fmt: skip


def _left(label: str, task: str, setting: Setting, *more: Number) -> Line:
    return Line(label, "factor", (
        Number(None, Quantity(task, METHOD, "loss", setting, form="over-dense")),
        Number(None, Quantity(task, METHOD, "parameters", setting, form="over-dense")),
        *more,
    ))  # fmt: skip


def _line(label: str, task: str, setting: Setting) -> Line:
    return _left(label, task, setting, Number(None, time("speedup", task, METHOD, setting)))


COLUMNS = ("Loss over that of the original", "Parameters left", "Speed-up (CPU)")

STUDY = Study(
    name="outlook",
    title="What the paper leaves to others",
    source="model-pruning-paper, section 5.2",
    tables=(
        Table("An autoencoder with skip connections", COLUMNS,
              (_line("both at once", TASK, BOTH), _line("encoder, then decoder", TASK, HALVES)),
              ("The paper asks the question and has no numbers.",)),
        Table("A larger step size, and a jump to 0.1 before an exponential schedule", COLUMNS[:2],
              (_left("step 0.1", PLAIN, BOTH), _left("step 0.5", PLAIN, LARGE), _left("jump", PLAIN, JUMP)),
              ("On the autoencoder without skip connections; VGG16's are in the study alpha-schedules. Equal shapes "
               "take equal time, which the study fig6-autoencoder-orders has.",)),
        Table("A DCGAN, its halves separately and at once",
              ("Fréchet distance over that of the original", "Parameters left", "Speed-up (CPU)"),
              (*(_dcgan(label, task, method) for method in (METHOD, "structured") for label, task in DCGAN.items()),
               _trained_on()),
              ("A GAN goes on getting better, so the last row is what pruning is to be compared with: the original "
               "with as many epochs more as structured pruning trains.",
               "The distance is frechet_small, of a small classifier's features: no FID. Parameters and speed-up are "
               "of the half that is pruned.",)),
    ),
    figures=(
        Figure(
            title="The loss along the schedule, with skip connections",
            x_label="level",
            y_label=LOSS,
            series=tuple(
                Series(label, logged=Quantity(TASK, METHOD, "val", setting, form="negated"), x="step")
                for label, setting in (("both at once", BOTH), ("encoder, then decoder", HALVES))
            ),
            x_unit="count",
            y_unit="number",
            falling=True,
        ),
    ),
    findings=(
        Finding(
            "With skip connections pruning to {left} of the parameters takes the loss from {skip_before} to {skip}, "
            "without them from {plain_before} to {plain}: less in itself, more in proportion. In decibels it costs "
            "them more, {skip_psnr_before} to {skip_psnr} against {plain_psnr_before} to {plain_psnr} dB, and the "
            "picture stays better than the plain network's before pruning.",
            {
                "left": ("fraction", Quantity(TASK, METHOD, "parameters", BOTH, form="over-dense")),
                **{
                    f"{name}{tail}{when}": ("number", Quantity(task, *cell))
                    for name, task in (("skip", TASK), ("plain", PLAIN))
                    for tail, metric in (("", "loss"), ("_psnr", "psnr"))
                    for when, cell in (("", (METHOD, metric, BOTH)), ("_before", ("dense", metric)))
                },
            },
        ),
        Finding(
            "Which half of the DCGAN had better be pruned? The two methods answer in opposite ways, in one seed each, "
            "so it stays open. Structured leaves {generator} the original's distance with the generator pruned alone, "
            "{both} with both at once and {discriminator} with the discriminator alone; by branches it is "
            "{branch_generator}, {branch_both} and {branch_discriminator}. The original of the first two comes to {on} "
            "by training on for as long as structured trains.",
            {
                "on": ("factor", Quantity(*TRAINED_ON[:2], "frechet_small", TRAINED_ON[2], form="over-dense")),
                **{
                    f"{by}{name}": ("factor", Quantity(task, method, "frechet_small", RATIO, form="over-dense"))
                    for by, method in (("", "structured"), ("branch_", METHOD))
                    for name, task in (("both", "dcgan-cifar10"), ("generator", "dcgan-cifar10+generator"),
                                       ("discriminator", "dcgan-cifar10+discriminator"))
                },
            },
        ),
        Finding(
            "With branches both halves at once end at {branch}, with channels removed at {structured}, after "
            "{branch_macs} and {structured_macs} MACs of training. Two epochs of one training can lie as far apart.",
            {
                "branch": ("number", Quantity("dcgan-cifar10", METHOD, "frechet_small", RATIO)),
                "structured": ("number", Quantity("dcgan-cifar10", "structured", "frechet_small", RATIO)),
                "branch_macs": ("count", Quantity("dcgan-cifar10", METHOD, "training_macs", RATIO)),
                "structured_macs": ("count", Quantity("dcgan-cifar10", "structured", "training_macs", RATIO)),
            },
        ),
        Finding(
            "Neither a larger step nor the jump gains anything: {half} the original's loss by steps of 0.5, {jump} by "
            "the jump, {tenth} by steps of 0.1, at equal training.",
            {
                "jump": ("factor", Quantity(PLAIN, METHOD, "loss", JUMP, form="over-dense")),
                "half": ("factor", Quantity(PLAIN, METHOD, "loss", LARGE, form="over-dense")),
                "tenth": ("factor", Quantity(PLAIN, METHOD, "loss", BOTH, form="over-dense")),
            },
        ),
    ),
    why=(
        "The paper has no numbers for its outlook: there is nothing to differ from.",
        "The DCGAN, quick (8 epochs, then 4; seed 0): its distance goes up and down by a factor of two from epoch to "
        "epoch, 2.2 to 4.7 in the second half of the dense training, and one seed cannot tell much less apart. The "
        "discriminator's task draws its halves in another order than the other two, so its dense network is another "
        "one, of 2.22.",
        "The rates of branch-alpha were chosen for SGD. Adam takes 0.002 of them here, so the levels above zero and "
        "the first two restarts run at 2e-6 to 2e-5, which moves little. Where the generator is pruned the distance "
        "stood at 10 and 14 after them, and the last eight epochs did the work; where the discriminator is, it stood "
        "at 2.0 after the first, and rose to 2.7 and 3.0.",
        "The discriminator alone, by branches, is kept as it was after the first restart, together with the generator "
        "that learned beside it (2.05 on validation data). One that nobody has learned from is judged by an untrained "
        "generator, at 19.0. An earlier record of this cell has 3.01, which was the last restart's and not that "
        "network's.",
        "With skip connections details can take the way around the bottleneck, and pruning makes that way narrower "
        "too: a possible reason for the larger loss in proportion, not a tested one.",
    ),
)  # fmt: skip
