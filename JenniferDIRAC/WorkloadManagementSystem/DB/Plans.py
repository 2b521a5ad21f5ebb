"""The last plans of all directors, for whoever asks why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, or_, select, update

from JenniferDIRAC.WorkloadManagementSystem.DB.Database import Database, again
from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan, UnreadablePlan
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import Plan

KEPT_PLANS = 100
KEPT_FOR = timedelta(days=1)


class Plans:
    """Keeps the last ``KEPT_PLANS`` plans that differ, none longer than ``KEPT_FOR``."""

    def __init__(self, database: Database):
        self._database = database

    @again
    def save(self, plan: KeptPlan) -> None:
        """Keep a plan; one that decides what its director's last one decides only makes that one newer."""
        document = plan.document()
        # Why a cloud does not answer often says for how long: that is no other decision.
        decided = replace(plan, unusable={}).document() if plan.unusable else document
        digest = sha256(decided).hexdigest()
        last_of_director = select(Plan.id, Plan.digest).where(Plan.director == plan.director)
        with self._database.transaction() as session:
            last = session.execute(last_of_director.order_by(Plan.at.desc(), Plan.id.desc()).limit(1)).first()
            if last is not None and last.digest == digest:
                session.execute(update(Plan).where(Plan.id == last.id).values(at=plan.at, document=document))
                return
            session.add(Plan(at=plan.at, director=plan.director, digest=digest, document=document))
            session.flush()
            newest = select(Plan.id).order_by(Plan.at.desc(), Plan.id.desc()).offset(KEPT_PLANS)
            surplus = session.scalars(newest).all()
            session.execute(delete(Plan).where(or_(Plan.id.in_(surplus), Plan.at < plan.at - KEPT_FOR)))

    def last(self, limit: int = 1) -> tuple[KeptPlan, ...]:
        """The last plans, newest first, but for those that this version cannot read."""
        query = select(Plan.document, Plan.at).order_by(Plan.at.desc(), Plan.id.desc()).limit(limit)
        with self._database.transaction() as session:
            rows = session.execute(query).all()
        plans = []
        for document, at in rows:
            try:
                plans.append(KeptPlan.of(document, at))
            except UnreadablePlan:
                continue
        return tuple(plans)
