"""The store on SQLite."""

import zlib
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError

from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

pytest.register_assert_rewrite("StoreBehaviour", "SharingBehaviour", "SessionsBehaviour")
from SessionsBehaviour import SessionsBehaviour  # noqa: E402
from SharingBehaviour import SharingBehaviour  # noqa: E402
from StoreBehaviour import NOW, StoreBehaviour, planned  # noqa: E402


class TestStoreOnSQLite(StoreBehaviour, SharingBehaviour, SessionsBehaviour):
    @pytest.fixture
    def new_store(self, tmp_path):
        return lambda: VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/vm.db"))

    @pytest.fixture
    def database_away(self, tmp_path, store):
        @contextmanager
        def away():
            store._engine.dispose()
            database = tmp_path / "vm.db"
            database.rename(tmp_path / "away.db")
            database.mkdir()
            yield
            database.rmdir()
            (tmp_path / "away.db").rename(database)

        return away

    @pytest.mark.parametrize("code", [1213, 1020])
    def test_what_the_database_undid_because_of_another_transaction_is_done_again(self, store, code):
        vm = planned(store)
        refusals = [OperationalError("UPDATE", None, Exception(code, "try restarting transaction"))] * 2

        @event.listens_for(store._engine, "before_cursor_execute")
        def refuse(*_):
            if refusals:
                raise refusals.pop()

        assert store.move(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "the cloud accepted", server_id="s-1")
        assert not refusals
        assert store.get(vm).server_id == "s-1"

    def test_a_plan_that_was_kept_before_endpoints_were_is_read(self):
        old = zlib.compress(b'{"at": "1970-01-01T00:00:00Z", "director": "one", "problem": "x"}')
        assert KeptPlan.of(old, NOW) == KeptPlan(NOW, "one", problem="x")

    def test_a_store_whose_database_cannot_be_opened_is_not_made(self, tmp_path):
        with pytest.raises(StoreUnavailable, match="unable to open"):
            VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/nowhere/vm.db"))


def test_a_missing_option_is_named_with_its_place(cs):
    options = {"Host": "127.0.0.1", "Port": 3306, "User": "Dirac", "Password": "secret"}
    cs({"Systems": {"WorkloadManagement": {"Databases": {"VirtualMachineDB": options}}}})
    with pytest.raises(StoreUnavailable, match=r"DBName.*/Systems/WorkloadManagement/Databases/VirtualMachineDB"):
        VirtualMachineDB()
