"""`run.json`: which training a place belongs to, and how far it is, so that the same command goes
on with it.
"""

import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from errors import UserError
from pipelines.storage.store import Store
from training.checkpointing.data_state import IN_IDENTITY, REMEDY
from training.job import Job
from training.loop.fit import Outcome
from training.settings import flat
from vqi2i.checking.frozen import Frozen
from vqi2i.checking.validation import parsed

RECORD = "run.json"


class RunRecord(Frozen):
    """A run's identity, the tag of its MLflow run, and what came of it, once it is complete."""

    model_config = ConfigDict(serialize_by_alias=True)

    identity: dict[str, Any]
    tracking_tag: str = Field(default_factory=lambda: uuid.uuid4().hex, alias="mark")
    outcome: Outcome | None = None


def claim(job: Job, place: Store, *, begun: bool) -> RunRecord:
    """The record of the run that keeps its files in `place`; a place that is empty becomes this
    job's.

    Args:
        job: what is to be trained on what.
        place: of the run's record.
        begun: whether a run has come to its first report or checkpoint there; one that was refused
            before that does not keep its name from another.

    Raises:
        UserError: it holds a run of another configuration, or its record is damaged.
        StorageError: it cannot be reached or written to.
    """
    now = job.identity()
    data = place.read(RECORD)
    if data is None:
        record = RunRecord(identity=now)
        write_record(place, record)
        return record
    record = parsed(
        RunRecord, data, f"{place.root}/{RECORD}", "choose another --run, or delete this folder"
    )
    if record.identity != now and not begun and record.outcome is None:
        record = RunRecord(identity=now)
        write_record(place, record)
        return record
    begun_as = job.begun_as(record.identity)
    accepted = IN_IDENTITY if job.accept_other_data else frozenset[str]()
    refuse_other_settings(place.root, begun_as, now, accepted=accepted)
    if record.outcome is None and record.identity != now:
        record = record.model_copy(update={"identity": now})
        write_record(place, record)
    return record


def write_record(place: Store, record: RunRecord) -> None:
    """Put a record into a run's place."""
    place.write(record.model_dump_json(indent=2).encode(), RECORD)


def refuse_other_settings(
    place: Path | str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    held: str = "run",
    accepted: Collection[str] = (),
) -> None:
    """Raise a UserError that names the settings if what a place holds was started with others.

    Args:
        place: folder or bucket.
        before: identity of what it holds.
        now: identity of what is wanted.
        held: what it holds, for the message.
        accepted: names that may differ.
    """
    then, wanted = dict(flat(before)), dict(flat(now))
    differing = sorted(
        name for name in then.keys() | wanted.keys() if then.get(name) != wanted.get(name)
    )
    if refused := [name for name in differing if name not in accepted]:
        only_data = held == "run" and IN_IDENTITY.issuperset(refused)
        remedy = (
            f"choose another --run, {REMEDY}" if only_data else "choose another --run, or delete it"
        )
        raise UserError(
            f"{place} holds a {held} with other settings ({', '.join(refused[:5])}): {remedy}"
        )
