"""Studies: a published table or figure as data: its own numbers, and what we measure that answers each of them.

One file beside this one for each study. No logic, no torch: `suite.comparison` fills the tables from records.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from suite.records import Scalar

#: How a metric becomes the number that a source prints. `complement`: 1 - value (an error from an accuracy);
#: `over-dense`, `less-dense`: value / dense value, value - dense value; `over-start`: value / that of the curve's first
#: point; `mean`: of a latency record's samples, where the record's own value is their median; `negated`: -value (a loss
#: from the score on validation data).
Form = Literal["value", "complement", "over-dense", "less-dense", "over-start", "mean", "negated"]
#: What a number is, in base units: a fraction of one, a difference of two fractions (`points`, shown a hundredfold),
#: seconds, bytes, a count, a factor (2 is twice), a plain number.
Unit = Literal["fraction", "points", "seconds", "bytes", "count", "factor", "number"]
#: The hyperparameters of a cell that are not default.
Setting = Mapping[str, Any]
#: The rows that most papers ask for: one image at a time.
ONE_IMAGE: Mapping[str, Scalar] = {
    "batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot",
}  # fmt: skip
ON_CUDA: Mapping[str, Scalar] = {**ONE_IMAGE, "timing": "wall"}
PROFILED: Mapping[str, Scalar] = {**ONE_IMAGE, "timing": "profiler"}
INT8: Mapping[str, Scalar] = {**ONE_IMAGE, "backend": "compile", "precision": "int8"}


#: The papers and reports, by the names that studies and docstrings use for them: who wrote what, where and when.
SOURCES: Mapping[str, str] = {
    "model-pruning-paper": "Patricia Gschoßmann, Model Pruning, Technical University Munich, 24 March 2021",
    "model-pruning-weekly-report-5": "Patricia Gschoßmann, Model Pruning: Weekly Report 5 (of the paper's project)",
    "model-pruning-weekly-report-6": "Patricia Gschoßmann, Model Pruning: Weekly Report 6 (of the paper's project)",
    "resnet18-global-pruning-report": "Recep Fırat Çekinel, MMI 712 Term Project Report: ResNet18 on CIFAR-10",  # noqa: RUF001
    "cifar100-googlenet-report": "Đinh Ngọc Ân, Cinnamon Week 5 Homework Report: GoogLeNet on CIFAR-100",
}


@dataclass(frozen=True)
class Quantity:
    """What we measure: a metric of one cell's records, of seed 0 for a cost and of all seeds for an accuracy.

    `setting` holds the hyperparameters that are not default; `conditions` are a cost record's, all of them. With
    `point`, `metric` is a value of the logged curve instead: of the last point that has these values.
    """

    task: str
    method: str
    metric: str
    setting: Setting = field(default_factory=dict)
    kind: Literal["accuracy", "latency", "memory", "energy"] = "accuracy"
    device: str = "cpu"
    conditions: Mapping[str, Scalar] | None = None
    point: Mapping[str, Scalar] | None = None
    form: Form = "value"


@dataclass(frozen=True)
class Number:
    """One place of a table: what the source prints there (None: nothing) and what answers it (None: nothing can).

    `printed` is the source's own text where it says more than the number (`nearly 90 %`); `note` is ours.
    """

    reported: float | None = None
    by: Quantity | None = None
    printed: str = ""
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table: its label, its unit, which end is better (None: neither), a number for each column.

    `comparable` is False where the source's numbers and ours are of different things, such as times of two machines:
    they stand side by side, and no deviation beside them.
    """

    label: str
    unit: Unit
    numbers: tuple[Number, ...]
    better: Literal["higher", "lower"] | None = None
    comparable: bool = True

    def unit_of(self, number: Number) -> Unit:
        """The line's unit; points where the number is a difference of the line's fractions, percent of a share left."""
        if number.by is not None and (number.by.metric, number.by.form) == ("parameters", "over-dense"):
            return "fraction"
        less = number.by is not None and number.by.form == "less-dense"
        return "points" if less and self.unit == "fraction" else self.unit


@dataclass(frozen=True)
class Table:
    """A table as the source has it; `notes` say what is ours in it."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


#: What a series stands over that follows a cell's trainings; one that follows its levels, with restarts at the last.
EPOCH, ALPHA = "epoch", "alpha"
#: How an axis of a loss is called, which is falling.
LOSS = "loss on validation data (lower is better: it falls upwards)"


@dataclass(frozen=True)
class Series:
    """One curve of a figure.

    `reported` are the source's points (x, y); y is None where the figure shows a point whose number is printed nowhere.
    `resumed` are its points (restart, y): trainings at the last level of a figure over ALPHA.
    Ours are either `points`, each with what answers it, or the curve that one record logged: `logged`, whose metric is
    y, over its value `x`. Where that is EPOCH, y is `val` or `train_loss` after each epoch of all its trainings.
    """

    label: str
    reported: tuple[tuple[float, float | None], ...] = ()
    points: tuple[tuple[float, Quantity], ...] = ()
    logged: Quantity | None = None
    x: str = ""
    resumed: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure of the source: its axes in words, their units, and its curves. A loss is `falling`: up is better."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_unit: Unit = "fraction"
    y_unit: Unit = "fraction"
    falling: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """What we mean to reach, whatever the source did: a bound on a quantity, in base units.

    With `than`, the bound is on the difference of the two quantities.
    """

    label: str
    by: Quantity
    unit: Unit
    at_least: float | None = None
    at_most: float | None = None
    than: Quantity | None = None


@dataclass(frozen=True)
class Finding:
    """What we see, in words: `{name}` in `text` stands for a number of `by`, with its unit, as the records have it.

    The words were written over results of one `profile`; they are shown while every number is fresh and of that.
    """

    text: str
    by: Mapping[str, tuple[Unit, Quantity]]
    profile: str = "quick"


@dataclass(frozen=True)
class Study:
    """Tables and figures of one source, side by side with what we measure.

    `findings` say what comes out, the answer to the study's question first; `why` says honestly why our numbers differ
    from the source's; `inconsistencies` are contradictions within the source itself; `others` are quantities that no
    table asks for and that the study runs all the same.
    """

    name: str
    title: str
    source: str
    why: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    inconsistencies: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    others: tuple[Quantity, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def citations(self) -> tuple[str, ...]:
        """Who wrote the papers that `source` names in short."""
        return tuple(text for name, text in SOURCES.items() if re.search(rf"\b{name}\b", self.source))

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """Everything that is measured here, in the order of the tables; some of it more than once."""
        return tuple(self._quantities())

    def _quantities(self) -> Iterator[Quantity]:
        for table in self.tables:
            for line in table.lines:
                yield from (number.by for number in line.numbers if number.by is not None)
        for figure in self.figures:
            for series in figure.series:
                yield from (quantity for _, quantity in series.points)
                yield from (series.logged,) if series.logged is not None else ()
        for target in self.targets:
            yield from (target.by,) if target.than is None else (target.by, target.than)
        yield from self.others

    @property
    def cells(self) -> tuple[tuple[str, str, Setting], ...]:
        """The cells that it takes, as (task, method, setting), none twice: each task's dense network first."""
        found: dict[tuple[str, str, str], tuple[str, str, Setting]] = {}
        for task in dict.fromkeys(quantity.task for quantity in self.quantities):
            found[task, "dense", "[]"] = (task, "dense", {})
        for each in self.quantities:
            key = (each.task, each.method, repr(sorted(each.setting.items())))
            found.setdefault(key, (each.task, each.method, each.setting))
        return tuple(found.values())


@functools.cache
def studies() -> dict[str, Study]:
    """Every study by name: the `STUDY` of each file of this folder."""
    found = {}
    names = sorted(each.name for each in pkgutil.iter_modules(__path__))
    for module in (name for name in names if not name.startswith("_")):
        study = importlib.import_module(f"{__name__}.{module}").STUDY
        found[study.name] = study
    return found
