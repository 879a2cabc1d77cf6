"""The failures that a user can mend; `cli.main` prints each as one line and exits with its code."""

from __future__ import annotations


class SuiteError(Exception):
    """Something failed; the message names the thing and the remedy in one line."""

    exit_code = 1


class UsageError(SuiteError):
    """The command asks for what does not exist or cannot be read that way."""

    exit_code = 2


class RegistrationError(SuiteError):
    """A method, model or task cannot be registered: a name given twice, a signature that is no schema."""


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
