"""Whose clock to believe: records are told apart by the time at which they were made, and clocks are wrong at times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from suite.records import Record, now

#: No two honest clocks are further apart, whatever their time zones were set to.
ALLOWED = timedelta(days=1)


def ahead(created: str, today: str | None = None) -> str | None:
    """What is wrong with a record made after today: it would stand before all others. None where it was not."""
    limit = datetime.fromisoformat((today or now()).replace("Z", "+00:00")) + ALLOWED
    if created <= limit.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"):  # one spelling: the texts sort as times
        return None
    return f"created {created}, which is to come: the clock of its machine or of this one is wrong"


def behind(found: Iterable[Record], today: str | None = None) -> str | None:
    """What to tell somebody who measures where records of a later time stand; None where there are none."""
    newest = max((record.created for record in found), default="")
    if newest <= (today or now()):
        return None
    return (
        f"the clock says {(today or now())[:19]}Z, but a record here was made at {newest}: if the clock is wrong, what "
        "is measured again now will be taken for older than what it replaces; set the clock first"
    )
