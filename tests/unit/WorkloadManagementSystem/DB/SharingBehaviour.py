"""What directors and operators share through the store, whatever the database: leases, news of VMs, levers, plans."""

import zlib
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from StoreBehaviour import EL9, MINUTE, NAPOLI, NOW, at_once, brought_to, intent, planned

from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan
from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.DB.Plans import KEPT_PLANS
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import Plan
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Claim, LeaseLost, Overtaken, UnknownLever
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import LeverRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Create, Limit, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Lever, LeverKind, Outcome, VMState

GRIF, NAPLES = EL9.endpoint, NAPOLI.endpoint
OVER = timedelta(0)  # a lease of this length is over at once


def lever(**what):
    return Lever(**{"id": 0, "kind": LeverKind.DRAIN, "who": "adm", "why": "the site is on fire", "since": NOW} | what)


class SharingBehaviour:
    """Beside ``StoreBehaviour``, with its fixtures."""

    # Leases

    def test_who_comes_first_has_the_endpoint_until_it_is_released(self, store):
        assert store.leases.take([GRIF, NAPLES], "one", MINUTE) == {GRIF, NAPLES}
        assert store.leases.take([GRIF], "other", MINUTE) == frozenset()
        assert store.leases.standing() == {GRIF: "one", NAPLES: "one"}
        store.leases.release("one")
        assert store.leases.standing() == {}
        assert store.leases.take([GRIF], "other", MINUTE) == {GRIF}

    def test_a_lease_that_is_not_renewed_in_time_goes_to_whoever_asks(self, store):
        store.leases.take([GRIF], "one", OVER)
        assert store.leases.take([GRIF], "other", MINUTE) == {GRIF}
        assert store.leases.take([GRIF], "one", MINUTE) == frozenset()

    def test_a_lease_is_renewed_by_its_holder(self, store):
        store.leases.take([GRIF], "one", timedelta(seconds=-1))
        assert store.leases.standing() == {}
        assert store.leases.take([GRIF], "one", MINUTE) == {GRIF}
        assert store.leases.standing() == {GRIF: "one"}

    def test_of_directors_that_take_the_same_endpoints_at_once_one_gets_each(self, new_store):
        keys = [EndpointKey("CLOUD.GRIF.fr", f"ce-{n}") for n in range(20)]
        stores = [new_store() for _ in range(4)]
        orders = (keys, keys[::-1], keys[10:] + keys[:10], keys)
        got = at_once(
            *[
                lambda store=store, order=order, name=str(n): store.leases.take(order, name, MINUTE)
                for n, (store, order) in enumerate(zip(stores, orders, strict=True))
            ]
        )
        assert sorted(key for held in got for key in held) == sorted(keys)

    def test_no_endpoints_are_no_leases(self, store):
        assert store.leases.take([], "one", MINUTE) == frozenset()

    # Intents of a director among others

    def test_intents_are_recorded_by_the_director_that_has_the_lease(self, store):
        store.installation()
        store.leases.take([GRIF], "one", MINUTE)
        for _ in range(2):
            store.record_intents([intent()], NOW, claim=store.leases.claim("one"))
        assert len(store.live()) == 2

    @pytest.mark.parametrize("ttl, taker", [(OVER, "one"), (MINUTE, "other")])
    def test_without_the_lease_of_every_endpoint_no_intent_is_recorded(self, store, ttl, taker):
        store.installation()
        store.leases.take([GRIF], "one", MINUTE)
        store.leases.take([NAPLES], taker, ttl)
        with pytest.raises(LeaseLost, match=str(NAPLES)):
            store.record_intents([intent(), intent(vm_type=NAPOLI)], NOW, claim=store.leases.claim("one"))
        assert store.live() == ()

    def test_what_was_planned_before_another_director_started_vms_is_not_recorded(self, new_store):
        one, other = new_store(), new_store()
        one.installation()
        one.leases.take([GRIF], "one", MINUTE)
        other.leases.take([NAPLES], "other", MINUTE)
        before = one.leases.claim("one")
        other.record_intents([intent(vm_type=NAPOLI)], NOW, claim=other.leases.claim("other"))
        with pytest.raises(Overtaken, match="another director"):
            one.record_intents([intent()], NOW, claim=before)
        one.record_intents([intent()], NOW, claim=one.leases.claim("one"))
        assert len(one.live()) == 2

    def test_of_two_directors_that_planned_for_the_same_jobs_at_once_one_starts_vms(self, new_store):
        stores = {"one": new_store(), "other": new_store()}
        stores["one"].installation()
        for name, key in (("one", GRIF), ("other", NAPLES)):
            stores[name].leases.take([key], name, MINUTE)

        def start(name, vm_type, claim):
            try:
                stores[name].record_intents([intent(vm_type=vm_type)], NOW, claim=claim)
            except Overtaken:
                return False
            return True

        for cycle in range(1, 11):
            claims = {name: store.leases.claim(name) for name, store in stores.items()}
            assert claims["one"].intents == claims["other"].intents
            won = at_once(
                lambda claims=claims: start("one", EL9, claims["one"]),
                lambda claims=claims: start("other", NAPOLI, claims["other"]),
            )
            assert sorted(won) == [False, True]
            assert len(stores["one"].live()) == cycle

    def test_no_intents_disturb_nobody(self, store):
        store.installation()
        before = store.leases.claim("one")
        store.record_intents([], NOW, claim=Claim("nobody", 99))
        assert store.leases.claim("one") == before

    # The news of VMs

    def test_what_is_in_memory_follows_what_every_store_writes(self, new_store):
        ours, other = new_store(), new_store()
        brought_to(other, VMState.ENDED)
        running = brought_to(other, VMState.RUNNING)
        records = LiveRecords(ours)
        assert records.read() == ours.live()
        planned(other, at=NOW - MINUTE)
        assert records.read() == ours.live()
        other.note(running, jobs=3)
        assert records.read() == ours.live()
        other.request_kill(running, "adm", "enough", NOW)
        assert records.read() == ours.live()
        other.move(running, VMState.DELETING, VMState.ENDED, NOW + MINUTE, "gone")
        assert records.read() == ours.live()
        assert len(ours.live()) == 1

    def test_ends_in_memory_are_those_of_the_store(self, new_store):
        ours, other = new_store(), new_store()
        brought_to(other, VMState.ENDED, at=NOW - MINUTE)
        records = LiveRecords(ours)
        records.read()
        assert records.ends(NOW) == ()
        assert len(records.ends(NOW - MINUTE)) == 1
        brought_to(other, VMState.ENDED, Outcome.FIZZLED, at=NOW + MINUTE)
        brought_to(other, VMState.ENDED, at=NOW)
        brought_to(other, VMState.ENDED, at=NOW - 2 * MINUTE)
        records.read()
        for since in (NOW - MINUTE, NOW, NOW + 2 * MINUTE, NOW - 3 * MINUTE):
            assert records.ends(since) == ours.recent_ends(since)
            told = [(end.at, end.outcome) for end in records.recent_ends(since)]
            assert told == [(record.ended_at, record.outcome) for record in ours.recent_ends(since)]

    def test_an_end_in_memory_that_is_written_again_is_there_once_and_as_it_is_now(self, new_store):
        ours, other = new_store(), new_store()
        records = LiveRecords(ours)
        records.read()
        records.ends(NOW - MINUTE)
        vms = [brought_to(other, VMState.ENDED, at=NOW) for _ in range(3)]
        records.read()
        other.note(vms[1], no_room=True)
        records.read()
        assert {record.vm_id: record.no_room for record in records.ends(NOW)} == {vm: vm == vms[1] for vm in vms}
        assert [end.no_room for end in records.recent_ends(NOW)].count(True) == 1
        assert len(records.recent_ends(NOW)) == len(vms)

    def test_what_the_news_missed_is_seen_when_all_is_read_afresh(self, store):
        forgetful = LiveRecords(store, overlap=timedelta(days=-1))  # looks only at what was written since tomorrow
        careful = LiveRecords(store, overlap=timedelta(days=-1), read_afresh_after=timedelta(0))
        forgetful.read(), careful.read()
        planned(store)
        assert forgetful.read() == ()
        assert careful.read() == forgetful.read(afresh=True) == store.live()

    # Levers

    def test_a_lever_stands_until_it_is_over(self, store):
        pulled = store.levers.pull(lever(until=NOW + MINUTE), NOW)
        assert pulled == replace(lever(until=NOW + MINUTE), id=pulled.id)
        assert store.levers.standing(NOW) == (pulled,)
        assert store.levers.standing(NOW + MINUTE) == ()

    def test_a_lever_that_is_taken_back_no_longer_stands_and_says_by_whom_and_why(self, store):
        kept, back = store.levers.pull(lever(), NOW), store.levers.pull(lever(vo="t2k.org"), NOW)
        assert store.levers.release(back.id, "eve", "all is well", NOW + MINUTE) == back
        assert store.levers.standing(NOW + MINUTE) == (kept,)
        assert store.levers.all() == (LeverRecord(back, NOW + MINUTE, "eve", "all is well"), LeverRecord(kept))
        assert store.levers.all(limit=1)[0].lever == back

    def test_a_lever_that_does_not_exist_or_was_taken_back_already_is_refused(self, store):
        pulled = store.levers.pull(lever(), NOW)
        store.levers.release(pulled.id, "eve", "all is well", NOW)
        with pytest.raises(UnknownLever, match="taken back by eve at 2026-11-20 12:00:00 UTC"):
            store.levers.release(pulled.id, "adm", "me too", NOW + MINUTE)
        with pytest.raises(UnknownLever, match="no lever 77"):
            store.levers.release(77, "adm", "", NOW)
        assert store.levers.all()[0].released_by == "eve"

    def test_a_lever_keeps_its_value_and_may_take_a_limit_away(self, store):
        values = (0.1, 200, None)
        for value in values:
            store.levers.pull(lever(kind=LeverKind.OVERRIDE, option="MaxCores", value=value), NOW)
        assert tuple(one.value for one in store.levers.standing(NOW)) == values

    # Plans

    def test_a_plan_comes_back_as_it_was_kept(self, store):
        plan = KeptPlan(
            NOW,
            "host:1:abc",
            answers=(Answer(7, "belle", 3, 2, ("a" * 32,), 0.8, {EL9: 2, NAPOLI: 1}), Answer(8, "t2k.org", 1, 1)),
            unmet=(
                Unmet(7, "belle", 4, Limit.BACKOFF, "after 3 empty VMs", EL9),
                Unmet(8, "belle", 1, Limit.SHARE, ""),
            ),
            stops=(Stopped(EL9, "belle", Limit.BACKOFF, "after 3 empty VMs", timedelta(seconds=90.5), "A/Backoff"),),
            creates=(Create(NAPOLI, "belle", 4, 8192, 7),),
            refused={"hyperk.org": "no pilot credential"},
            problem="the Matcher: connection refused",
            unusable={"CLOUD.GRIF.fr/grif": "connection refused"},
        )
        store.plans.save(plan)
        assert store.plans.last() == (plan,)

    def test_a_plan_that_says_the_same_again_only_makes_the_last_one_newer(self, store):
        plan = KeptPlan(NOW, "one", refused={"belle": "no credential"})
        for minute in range(3):
            store.plans.save(replace(plan, at=NOW + minute * MINUTE))
        other = replace(plan, director="other", at=NOW + 2 * MINUTE)
        store.plans.save(other)
        assert store.plans.last(9) == (other, replace(plan, at=NOW + 2 * MINUTE))

    def test_the_last_plans_are_kept_and_none_for_longer_than_a_day(self, store):
        plans = [KeptPlan(NOW + n * MINUTE, "one", problem=f"problem {n}") for n in range(KEPT_PLANS + 3)]
        for plan in plans:
            store.plans.save(plan)
        assert store.plans.last(1000) == tuple(reversed(plans[3:]))
        late = replace(plans[0], at=plans[-2].at + timedelta(days=1))
        store.plans.save(late)
        assert store.plans.last(1000) == (late, plans[-1], plans[-2])

    @pytest.mark.parametrize(
        "document",
        [
            b"",
            zlib.compress(b"not JSON"),
            zlib.compress(b'{"at": "2026-11-20T12:00:00Z", "director": "one", "answers": [{"task_queue": 7}]}'),
            zlib.compress(b'{"at": "2026-11-20T12:00:00Z", "director": "one", "answers": [7]}'),
            zlib.compress(b'{"at": "2026-11-20T12:00:00Z", "director": "one", "stops": [{"limit": "Moon"}]}'),
        ],
    )
    def test_a_plan_that_another_version_kept_hides_no_other(self, store, document):
        plans = [KeptPlan(NOW, "one", problem="a"), KeptPlan(NOW + MINUTE, "one", problem="b")]
        for plan in plans:
            store.plans.save(plan)
        with store._engine.begin() as connection:
            connection.execute(update(Plan).where(Plan.at == NOW + MINUTE).values(document=document))
        assert store.plans.last(9) == (plans[0],)

    def test_why_an_endpoint_is_unusable_is_kept_with_its_last_words_and_is_no_other_plan(self, store):
        plans = [KeptPlan(NOW + n * MINUTE, "one", unusable={"A/a": f"no answer for {n} min"}) for n in range(3)]
        for plan in plans:
            store.plans.save(plan)
        assert store.plans.last(9) == (plans[-1],)
