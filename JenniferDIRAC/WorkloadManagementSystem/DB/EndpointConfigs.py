"""The last good configuration of every endpoint: its VMs are looked after when it has left the CS, or is broken there.

It holds no secret: the CS's sections with one are refused before they get here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, tuple_

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import StrictModel
from JenniferDIRAC.WorkloadManagementSystem.DB.Database import Database, again
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import EndpointConfiguration as Row
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey


class EndpointConfigs:
    def __init__(self, database: Database):
        self._database = database

    @again
    def keep(self, configs: Iterable[EndpointConfig]) -> None:
        """Put these in the place of what is kept of the same endpoints."""
        # What is not said keeps the default that it has when it is read.
        rows = [
            {"site": one.site, "ce": one.ce, "document": one.model_dump_json(exclude_defaults=True).encode()}
            for one in configs
        ]
        with self._database.transaction() as session:
            session.execute(delete(Row).where(_among((row["site"], row["ce"]) for row in rows)))
            session.execute(insert(Row), rows)

    def kept(self) -> dict[EndpointKey, EndpointConfig]:
        """All that are kept, but for those that this version cannot read (any more)."""
        with self._database.transaction() as session:
            rows = session.execute(select(Row.site, Row.ce, Row.document)).all()
        configs = {}
        for site, ce, document in rows:
            try:
                configs[EndpointKey(site, ce)] = EndpointConfig.model_validate(_as_today(json.loads(document)))
            except Exception:  # whatever another version wrote: the director tells whose VMs nobody looks after
                continue
        return configs

    @again
    def forget(self, endpoints: Iterable[EndpointKey]) -> None:
        with self._database.transaction() as session:
            session.execute(delete(Row).where(_among((key.site, key.ce) for key in endpoints)))


def _as_today(document: dict[str, Any]) -> dict[str, Any]:
    """What another version kept, without what this one does not know: its VMs are to be looked after all the same."""
    vm_types = [_known(VMTypeConfig, one) for one in document.get("vm_types", ())]
    return _known(EndpointConfig, {**document, "vm_types": vm_types})


def _known(model: type[StrictModel], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


def _among(keys: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    return tuple_(Row.site, Row.ce).in_(list(keys))
