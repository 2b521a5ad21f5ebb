"""The simulator's store behaves as the real one."""

from contextlib import contextmanager
from datetime import timedelta

import pytest

from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import UnknownVM
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryDatabase import MemoryDatabase
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryStore import MemoryStore

pytest.register_assert_rewrite("StoreBehaviour", "SharingBehaviour")
from SharingBehaviour import SharingBehaviour  # noqa: E402
from StoreBehaviour import NOW, StoreBehaviour, brought_to, planned  # noqa: E402


class TestStoreInMemory(StoreBehaviour, SharingBehaviour):
    # About SQL: its tables, and what happens between two of its statements.
    test_a_table_of_an_older_version_gets_what_it_lacks_and_loses_nothing = None
    test_a_table_of_an_older_version_gets_the_index_that_it_lacks = None
    test_a_kill_reaches_a_vm_that_moves_on_meanwhile = None
    test_a_plan_that_another_version_kept_hides_no_other = None

    @pytest.fixture
    def database(self):
        return MemoryDatabase()

    @pytest.fixture
    def new_store(self, database):
        return lambda: MemoryStore(database)

    @pytest.fixture
    def database_away(self, database):
        @contextmanager
        def away():
            database.away = True
            yield
            database.away = False

        return away

    def test_what_ended_long_ago_is_forgotten_where_that_is_wanted(self, database, store):
        database.forget_after = timedelta(days=1)
        old = brought_to(store, VMState.ENDED, at=NOW)
        kept = brought_to(store, VMState.ENDED, at=NOW + timedelta(hours=1))
        new = brought_to(store, VMState.ENDED, at=NOW + timedelta(days=1, minutes=30))
        assert [record.vm_id for record in store.recent_ends(NOW)] == [kept, new]
        with pytest.raises(UnknownVM):
            store.get(old)
        assert store.history(old) == ()

    def test_the_database_counts_its_changes(self, database, store):
        vm = planned(store)
        before = database.changes
        store.live(), store.history(vm), store.recent_ends(NOW)
        assert database.changes == before
        store.note(vm, jobs=1)
        assert database.changes == before + 1
