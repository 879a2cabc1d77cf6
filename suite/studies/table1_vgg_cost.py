"""Table 1 of the model-pruning paper and section 2.1 of Weekly report 6: what VGG16 costs before and after."""

from suite.studies import Finding, Line, Number, Setting, Study, Table
from suite.studies._costs import beside, memories, memory, memory_left, time, times

SETTING: Setting = {"channel_ratio": 22 / 64}
PRUNED = ("vgg16-cifar10", "branch-alpha", SETTING)
#: Another method, the same shapes.
L1 = ("vgg16-cifar10", "l1-three-stage", SETTING)
COLUMNS = ("Original", "Pruned", "L1 three-stage, same shapes")


def _times(device: str, original: str, pruned: str) -> tuple[Number, ...]:
    return (*times(PRUNED, device, original, pruned), Number(None, time("compressed_seconds", *L1, device)))


def _memories(device: str, original: str, pruned: str) -> tuple[Number, ...]:
    return (*memories(PRUNED, device, original, pruned), Number(None, memory("peak_bytes", *L1, device)))


def _speedups(device: str, *reported: float) -> tuple[Number, ...]:
    ours = time("speedup", *PRUNED, device)
    return (*(Number(each, ours) for each in reported), Number(None, time("speedup", *L1, device)))


def _left(device: str, reported: float) -> tuple[Number, ...]:
    return (Number(reported, memory_left(*PRUNED, device)), Number(None, memory_left(*L1, device)))


STUDY = Study(
    name="table1-vgg-cost",
    title="Time and memory of the pruned VGG16",
    source="model-pruning-paper, Table 1; model-pruning-weekly-report-6, section 2.1",
    tables=(
        Table(
            title="Table 1: original and pruned VGG16",
            columns=COLUMNS,
            lines=(
                beside("Time/img (GPU)", "seconds", _times("cuda", "≈ 0.0420 s", "≈ 0.0416")),
                beside("GPU consumption", "bytes", _memories("cuda", "2.00 GB", "1.00 GB")),
                beside("Time/img (CPU)", "seconds", _times("cpu", "≈ 0.0193 s", "≈ 0.0060 s")),
                beside("RAM consumption", "bytes", _memories("cpu", "3.99 GB", "3.78 GB")),
            ),
            notes=(
                "GB are taken as 10^9 bytes. Ours are medians for one image at a time, on the CPU on one thread, and "
                "the peak of what the model needs beyond Python and torch. The paper's consumption is an average, of "
                "what is not said.",
            ),
        ),
        Table(
            title="Weekly report 6, section 2.1: batches of one image",
            columns=COLUMNS,
            lines=(
                beside("Time per batch (GPU)", "seconds", _times("cuda", "≈ 0.0228 s", "≈ 0.0059 s")),
                Line("Average GPU consumption", "fraction",
                     (Number(0.4990, printed="49.90\u202f%"), Number(0.4988), Number()), "lower"),
                beside("Time per batch (CPU)", "seconds", _times("cpu", "≈ 0.0452 s", "≈ 0.0394 s")),
                Line("Average memory on the CPU", "fraction", (Number(0.1783), Number(0.1725), Number()), "lower"),
            ),
            notes=("Over the 10,000 test images. GPU: NVIDIA RTX 2070 SUPER; CPU: Intel i5-8250U. The shares are of "
                   "a memory whose size the report does not give, so nothing of ours stands beside them.",),
        ),
        Table(
            title="Speed-ups, computed from both",
            columns=("Table 1", "Weekly report 6", "L1 three-stage, same shapes"),
            lines=(
                Line("Speed-up (GPU)", "factor", _speedups("cuda", 0.0420 / 0.0416, 0.0228 / 0.0059), "higher"),
                Line("Speed-up (CPU)", "factor", _speedups("cpu", 0.0193 / 0.0060, 0.0452 / 0.0394), "higher"),
            ),
            notes=("Ours is measured pairwise: the networks take turns, so that the machine's moods cancel.",),
        ),
        Table(
            title="Memory left, computed from Table 1",
            columns=("Table 1", "L1 three-stage, same shapes"),
            lines=(
                beside("GPU", "fraction", _left("cuda", 1.00 / 2.00)),
                beside("CPU", "fraction", _left("cpu", round(3.78 / 3.99, 3))),
            ),
            notes=("The paper: just as much time on the GPU, where all multiplications of a layer run at once, and "
                   "significantly fewer resources; faster on the CPU.",),
        ),
    ),
    findings=(
        Finding(
            "On one thread of a CPU the pruned network is {speedup} as fast (Table 1: 3.2 times, Weekly report 6: "
            "1.15).",
            {"speedup": ("factor", time("speedup", *PRUNED))},
        ),
        Finding(
            "The pruned network needs {left} of the original's memory beyond Python and torch.",
            {"left": ("fraction", memory_left(*PRUNED))},
        ),
    ),
    why=(
        "Times of other machines cannot be compared with ours, and even the speed-up is a matter of the machine: on "
        "one thread 6.67 [5.94, 7.49] on an AMD EPYC, 6.3 [5.1, 7.7] and 3.34 [2.75, 4.06] on two Intel Xeons (their "
        "networks of random weights), for L1 three-stage with the same shapes 6.61, 6.1 and 3.43. How the papers "
        "timed, with how many threads and whether the GPU was waited for, is not said.",
        "Our memory is the model's own share at its peak; theirs is an average, and by its size of the whole process, "
        "of which the framework is most.",
    ),
    inconsistencies=(
        "VGG16 pruned to one size and tested twice: on the GPU 1.01x and 3.86x, on the CPU 3.22x and 1.15x.",
        "The original alone takes 0.0420 s on the GPU and 0.0193 s on the CPU in Table 1, but 0.0228 s and 0.0452 s in "
        "Weekly report 6.",
        "In Table 1 an image takes twice as long on the GPU (0.0420 s) as on the CPU (0.0193 s).",
        "Table 1's time of the pruned network on the GPU has no unit.",
        "Weekly report 6 finds 0.02 % less GPU memory, Table 1 half of it: 2.00 GB and 1.00 GB.",
        'Weekly report 6 says the model "utilized 17.83% of the CPU" where it speaks of memory.',
    ),
)  # fmt: skip
