"""The failures that a user can mend; `cli.main` prints each as one line and exits with its code."""

from __future__ import annotations

import errno
import re


class SuiteError(Exception):
    """Something failed; the message names the thing and the remedy in one line."""

    exit_code = 1


class UsageError(SuiteError):
    """The command asks for what does not exist or cannot be read that way."""

    exit_code = 2


class RegistrationError(SuiteError):
    """A method, model or task cannot be registered: a name given twice, a signature that is no schema."""


class TaskError(SuiteError):
    """A task's own file is at fault: its network, data or objective does not do what a task needs."""


class DataError(SuiteError):
    """A data set is missing or damaged."""


class ArtifactError(SuiteError):
    """A stored model is missing, damaged, or not what its hash says."""


class RecordError(SuiteError):
    """A record or a results folder is malformed or cannot be written."""


class DeviceError(SuiteError):
    """The machine lacks the device that was asked for."""


class Unsupported(SuiteError):
    """A method cannot work on this model or reach this point; the record says `unsupported` and why."""


def without_folders(text: str) -> str:
    """A text that will be published: of a path only the file's name; an address stays."""
    return re.sub(r"(?<!\w)(?<!:/)/(?:[^\s/:'\"]+/)+", "", text)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message that says something; empty where none does."""
    return next((each.strip() for each in str(error).splitlines() if each.strip()), "")


def said(error: BaseException, longest: int = 160) -> str:
    """What a library raised, in brackets behind a sentence of ours: its kind, and its message's first line."""
    line = first_line(error)
    if len(line) > longest:
        line = line[: longest - 3] + "..."
    return f"[{type(error).__name__}{': ' if line else ''}{line}]"


def remedy(error: OSError) -> str:
    """What to do where the system refuses to write, by the reason that it gives."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some room or choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder that you may write to"
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "a folder and a file stand in each other's place there: choose another name"
    if error.errno == errno.ENAMETOOLONG:
        return "choose a shorter name"
    return "choose another place"
