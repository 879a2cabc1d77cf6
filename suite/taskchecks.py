"""Is a task, as somebody wrote it, one that can be run? No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from suite.discovery import is_name
from suite.tasks import PROFILES, Recipe, Schedule, Task

#: What `augmentation.AUGMENTATIONS` has, by name.
AUGMENTATION_NAMES = ("flip", "crop4", "crop2", "window")


def check(name: str, task: Task) -> str | None:
    """What is wrong with a task as it was written, and the remedy, in one line; None for one that can be used."""
    if not is_name(name):
        return "a name is made of letters, digits, '.', '-' and '+' (it names folders and pages)"
    for field_name in ("model", "data", "objective", "title"):
        if not isinstance(getattr(task, field_name), str):
            return f"{field_name}= must be a text, not {getattr(task, field_name)!r}"
    if not isinstance(task.options, Mapping) or not all(
        isinstance(each, str) and isinstance(value, bool | int | float | str | None)
        for each, value in task.options.items()
    ):
        return "options= must map names to numbers, texts, true, false or none: they are kept with each model"
    shape = task.input_shape
    if not isinstance(shape, tuple) or len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        return f"input_shape= must be (channels, height, width) of one sample, not {shape!r}"
    recipes = task.recipes if isinstance(task.recipes, Mapping) else {}
    for profile in PROFILES:
        if not isinstance(recipes.get(profile), Recipe):
            return f"recipes= lacks the profile {profile!r}: give a Recipe for each of {', '.join(PROFILES)}"
        fault = _recipe_fault(recipes[profile])
        if fault is not None:
            return f"recipes[{profile!r}]: {fault}"
    return None


def _recipe_fault(recipe: Recipe) -> str | None:
    for name in ("epochs", "batch_size"):
        value = getattr(recipe, name)
        if not isinstance(value, int) or value < 1:
            return f"{name}= must be a whole number from 1 on, not {value!r}"
    for name in ("train_images", "eval_images"):
        value = getattr(recipe, name)
        if value is not None and (not isinstance(value, int) or value < 1):
            return f"{name}= must be a whole number from 1 on, or None for all, not {value!r}"
    if not isinstance(recipe.lr, int | float) or not recipe.lr > 0:
        return f"lr= must be above 0, not {recipe.lr!r}"
    if recipe.schedule not in get_args(Schedule):
        return f"schedule= must be one of {', '.join(get_args(Schedule))}, not {recipe.schedule!r}"
    given: object = recipe.augmentation
    if not isinstance(given, tuple | list) or not all(each in AUGMENTATION_NAMES for each in given):
        return f"augmentation= must be a tuple of {', '.join(AUGMENTATION_NAMES)}, not {given!r}"
    return None
