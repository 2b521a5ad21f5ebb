"""The store on SQLite."""

from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine

from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable, VirtualMachineStore

pytest.register_assert_rewrite("StoreBehaviour")
from StoreBehaviour import StoreBehaviour  # noqa: E402


class TestStoreOnSQLite(StoreBehaviour):
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

    def test_a_store_whose_database_cannot_be_opened_is_not_made(self, tmp_path):
        with pytest.raises(StoreUnavailable, match="unable to open"):
            VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/nowhere/vm.db"))
