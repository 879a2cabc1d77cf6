"""Which values a hyperparameter may take: by a range in its signature, or by a name that means the same everywhere.

What no network could be asked for is the user's slip. It is refused before anything is trained, and no record calls it
a fact about the method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError

if TYPE_CHECKING:
    from suite.sources import Hyperparameter


@dataclass(frozen=True)
class Range:
    """The numbers that a hyperparameter may be; of a text, each of the numbers with commas between.

    Written in a method's signature, in literals: `share: Annotated[float, Range(above=0, at_most=1)] = 0.5`.
    """

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        ends = {name.replace("_", " "): value for name, value in vars(self).items() if value is not None}
        return " and ".join(f"{name} {value:g}" for name, value in ends.items())

    def holds(self, value: Any) -> bool:
        """Is a typed value within: a number, or a text of numbers?"""
        if not isinstance(value, str):
            return value in self
        found = numbers(value)
        return found is not None and all(each in self for each in found)


def numbers(text: str) -> tuple[float, ...] | None:
    """The finite numbers of a text with commas between; None where it is something else."""
    try:
        found = tuple(float(each) for each in text.split(",") if each.strip())
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


NUMBERS, TEXT = ("float", "int"), ("str",)
#: Names that mean the same in every method (DESIGN sections 3 and 6), the types that they have there, and their range.
BY_NAME: Mapping[str, tuple[tuple[str, ...], Range]] = {
    "channel_ratio": (NUMBERS, Range(above=0, at_most=1)),
    "macs_ratio": (NUMBERS, Range(above=0, at_most=1)),
    "min_ratio": (NUMBERS, Range(at_least=0, at_most=1)),
    "max_drop": (NUMBERS, Range(at_least=0, at_most=1)),
    "parameters": (NUMBERS, Range(at_least=1)),
    "sparsity": (NUMBERS, Range(at_least=0, below=1)),
    "round_to": (NUMBERS, Range(at_least=1)),
    "steps": (NUMBERS, Range(at_least=1)),
    "levels": (NUMBERS, Range(at_least=1)),
    "samples": (NUMBERS, Range(at_least=1)),
    "batches": (NUMBERS, Range(at_least=1)),
    "epochs": (NUMBERS, Range(at_least=0)),
    "final_epochs": (NUMBERS, Range(at_least=0)),
    "frozen_epochs": (NUMBERS, Range(at_least=0)),
    "total_epochs": (NUMBERS, Range(at_least=0)),
    "early_stop": (NUMBERS, Range(at_least=1)),
    "lr": (NUMBERS, Range(above=0, at_most=1000)),  # far beyond any that learns; 1e300 is no float32
    "weight_decay": (NUMBERS, Range(at_least=0)),
    "noise": (NUMBERS, Range(at_least=0)),
    "noise_share": (NUMBERS, Range(at_least=0, at_most=1)),
    "restarts": (TEXT, Range(above=0)),
    "restart_epochs": (TEXT, Range(at_least=0)),
}
#: Plainer names, which mean an alpha schedule's step and rate beside a `schedule`, and anything elsewhere.
BESIDE_SCHEDULE: Mapping[str, tuple[tuple[str, ...], Range]] = {
    "size": (NUMBERS, Range(above=0, at_most=1)),
    "rate": (NUMBERS, Range(above=0)),
}
#: Targets of which a method with several takes exactly one.
TARGETS = ("channel_ratio", "parameters", "macs_ratio")
#: Lists of which each entry of the one belongs to an entry of the other.
PAIRED = (("restarts", "restart_epochs"),)


def by_name(name: str, kind: str, default: Any, siblings: Iterable[str]) -> Range | None:
    """The range that a hyperparameter's name stands for; `siblings` are the names of the method's hyperparameters.

    None for any other name, and where the type or the default shows that the method means something else by it.
    """
    known = {**BY_NAME, **BESIDE_SCHEDULE} if "schedule" in siblings else BY_NAME
    kinds, found = known.get(name, ((), None))
    if found is None or kind not in kinds or (default is not None and not found.holds(default)):
        return None
    return found


def check_together(method: str, parameters: Iterable[Hyperparameter], values: Mapping[str, Any]) -> None:
    """UsageError for values that are right one by one and make no setting: two targets or none, lists that do not pair.

    `values` has every default filled in.
    """
    optional = [each.name for each in parameters if each.name in TARGETS and each.optional and each.default is None]
    given = [name for name in optional if values[name] is not None]
    if len(optional) > 1 and len(given) != 1:
        choice = f"{', '.join(optional[:-1])} and {optional[-1]}"
        wrong = f"{' and '.join(given)} are more than one target" if given else "there is no target"
        raise UsageError(f"{method}: {wrong}: --set one of {choice}")
    for one, other in PAIRED:
        if one in values and other in values:
            counts = [len(numbers(str(values[name])) or ()) for name in (one, other)]
            if counts[0] != counts[1]:
                raise UsageError(
                    f"{method}: {one}={values[one]} are {counts[0]} numbers, {other}={values[other]} are {counts[1]}: "
                    "give as many of each"
                )
