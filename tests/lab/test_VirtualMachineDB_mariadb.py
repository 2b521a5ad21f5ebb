"""The store on a real MariaDB, reached as DIRAC's configuration says."""

import logging
import os
import pwd
import socket
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from importlib import resources
from pathlib import Path
from urllib.parse import quote_plus

import MySQLdb
import pytest
from DIRAC.ConfigurationSystem.Client.ConfigurationData import gConfigurationData
from diraccfg import CFG
from sqlalchemy import event, insert, text

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity, ServerRequest
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import VM
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Step, StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, PilotState, VMState, VMTypeKey

pytest.register_assert_rewrite("StoreBehaviour", "SharingBehaviour", "SessionsBehaviour")
for room in ("DB", "Director"):
    sys.path.append(str(Path(__file__).parents[1] / "unit/WorkloadManagementSystem" / room))
from director_world import World  # noqa: E402
from SessionsBehaviour import MINE, SEALED, SessionsBehaviour, redeemed, with_ticket  # noqa: E402
from SharingBehaviour import SharingBehaviour  # noqa: E402
from StoreBehaviour import NOW, StoreBehaviour, intent, planned  # noqa: E402

PASSWORD = "p@ss:w/rd%41"


class MariaDB:
    """A MariaDB server of our own: its data in a directory, its port on 127.0.0.1."""

    def __init__(self, root: Path):
        self.root = root
        self.user = pwd.getpwuid(os.getuid()).pw_name
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={root}/data", f"--user={self.user}", "--skip-test-db"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (root / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS 'Dirac'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO 'Dirac'@'127.0.0.1';\n"
        )
        self.start()

    def start(self):
        """Start, and return when it takes connections: it says so as it would to systemd."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.root / "log", "ab") as log:
            notify.bind(f"\0mariadb-{os.getpid()}-{self.port}")
            notify.settimeout(60)
            self.process = subprocess.Popen(
                [
                    "mariadbd",
                    "--no-defaults",
                    f"--datadir={self.root}/data",
                    f"--socket={self.root}/sock",
                    f"--pid-file={self.root}/pid",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--user={self.user}",
                    f"--init-file={self.root}/init.sql",
                    "--innodb-buffer-pool-size=32M",
                    "--performance-schema=OFF",
                ],
                stdout=log,
                stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": f"@mariadb-{os.getpid()}-{self.port}"},
            )
            while b"READY=1" not in notify.recv(4096):
                pass

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

    def kill(self):
        self.process.kill()
        self.process.wait(30)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory):
    server = MariaDB(tmp_path_factory.mktemp("mariadb"))
    yield server
    server.stop()


@pytest.fixture
def configure(mariadb):
    """Put options into DIRAC's configuration for the time of a test."""
    before = gConfigurationData.localCFG

    def set_options(**options):
        section = {"Host": "127.0.0.1", "Port": str(mariadb.port), "User": "Dirac", "Password": PASSWORD, **options}
        cfg = CFG().loadFromDict({"Systems": {"WorkloadManagement": {"Databases": {"VirtualMachineDB": section}}}})
        gConfigurationData.localCFG = before.mergeWith(cfg)
        gConfigurationData.sync()

    yield set_options
    gConfigurationData.localCFG = before
    gConfigurationData.sync()


@pytest.fixture
def empty_database(mariadb, configure):
    """The database as an administrator makes it, and the configuration that names it."""
    connection = MySQLdb.connect(host="127.0.0.1", port=mariadb.port, user="Dirac", password=PASSWORD)
    schema = resources.files("JenniferDIRAC.WorkloadManagementSystem.DB").joinpath("VirtualMachineDB.sql").read_text()
    with closing(connection), closing(connection.cursor()) as cursor:
        cursor.execute("DROP DATABASE IF EXISTS VirtualMachineDB")
        cursor.execute("CREATE DATABASE VirtualMachineDB")
        cursor.execute(schema)
    configure(DBName="VirtualMachineDB")


class TestStoreOnMariaDB(StoreBehaviour, SharingBehaviour, SessionsBehaviour):
    @pytest.fixture
    def new_store(self, empty_database):
        stores = []

        def make():
            stores.append(VirtualMachineDB().store)
            return stores[-1]

        yield make
        for store in stores:
            store._engine.dispose()

    @pytest.fixture
    def database_away(self, mariadb):
        return lambda: stopped(mariadb)

    def test_a_server_that_dies_in_the_middle_of_a_move_leaves_state_and_history_as_they_were(self, store, mariadb):
        vm = planned(store)

        def die(connection, cursor, statement, *_):
            if "VirtualMachineHistory" in statement:
                mariadb.kill()

        event.listen(store._engine, "before_cursor_execute", die)
        with pytest.raises(StoreUnavailable):
            store.move(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "accepted")
        event.remove(store._engine, "before_cursor_execute", die)
        mariadb.start()
        assert (store.get(vm).state, len(store.history(vm))) == (VMState.PLANNED, 1)
        assert store.move(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "accepted")

    def test_a_server_that_was_restarted_between_two_cycles_is_not_noticed(self, store, mariadb):
        vm = planned(store)
        with stopped(mariadb):
            pass
        assert store.get(vm).state is VMState.PLANNED

    def test_live_vms_are_read_without_touching_those_that_ended(self, store):
        ended = {"state": VMState.ENDED, "since": NOW, "created_at": NOW, "outcome": Outcome.WORKED, "ended_at": NOW}
        with store._engine.begin() as connection:
            rows = (vars(intent()) for _ in range(5000))
            flat = [{**row, **vars(row.pop("vm_type")), **ended} for row in rows]
            connection.execute(insert(VM), flat)
            connection.execute(text("ANALYZE TABLE VirtualMachines"))
        vms = {planned(store) for _ in range(3)}

        assert rows_read(store, lambda: {record.vm_id for record in store.live()} == vms) < 50
        assert rows_read(store, store.counts) < 50
        assert rows_read(store, lambda: store.recent_ends(NOW + timedelta(hours=1)) == ()) < 50
        assert rows_read(store, lambda: len(store.select(limit=10)) == 10) < 50

    def test_a_cycle_reads_and_writes_no_more_rows_for_a_thousand_idle_vms_than_for_ten(self, store):
        world = World(store=store)
        costs = []
        for more in (10, 990):
            at_work(world, more)
            world.cycle()
            with store._engine.begin() as connection:  # what was written a minute ago at most is read again
                connection.execute(text("UPDATE VirtualMachines SET touched_at = touched_at - INTERVAL 1 HOUR"))
                connection.execute(text("OPTIMIZE TABLE VirtualMachines"))  # the index forgets what it held
            costs.append((rows_read(store, world.cycle), rows_read(store, world.cycle, "Handler_update")))
        assert len(store.live()) == 1000
        assert costs[1] <= costs[0]
        assert costs[1][0] < 100

    def test_no_error_holds_the_password(self, store, mariadb, configure, caplog):
        caplog.set_level(logging.DEBUG)
        errors = []
        with stopped(mariadb):
            for question in (store.live, VirtualMachineDB):
                errors.append(pytest.raises(StoreUnavailable, question))
        wrong = PASSWORD + "-wrong"
        configure(DBName="VirtualMachineDB", Password=wrong)
        errors.append(pytest.raises(StoreUnavailable, VirtualMachineDB))
        assert "Access denied" in str(errors[-1].value)
        for error in errors:
            said = "".join(traceback.format_exception(error.value)) + repr(error.value)
            assert "VirtualMachineDB on 127.0.0.1" in said
            assert not any(form in said for form in (PASSWORD, quote_plus(PASSWORD)))
        assert not any(form in caplog.text for form in (PASSWORD, quote_plus(PASSWORD)))

    def test_a_vm_that_asks_again_while_its_first_question_still_waits_is_answered(self, store):
        """Its transaction began before the first one's was over."""
        vm = with_ticket(store)
        with store._engine.connect() as busy, ThreadPoolExecutor(2) as pool:
            # a director's, say
            busy.execute(text("UPDATE GatewaySessions SET refused_why = 'x' WHERE vm_id = :vm"), {"vm": vm})
            asked = [pool.submit(redeemed, store, vm, MINE) for _ in range(2)]
            time.sleep(1)
            busy.commit()
            assert [one.result(30) for one in asked] == [SEALED, SEALED]


@contextmanager
def stopped(mariadb):
    mariadb.stop()
    yield
    mariadb.start()


def at_work(world, vms):
    """So many VMs that run the jobs of their pilots: there is nothing to do about them."""
    installation, cloud = world.store.installation(), world.cloud
    intents = [intent(vm_type=VMTypeKey(world.configs[0].site, world.configs[0].ce, "q")) for _ in range(vms)]
    world.store.record_intents(intents, world.now)
    steps = []
    for one in intents:
        identity = Identity(installation, one.vm_id, one.vo, one.cores)
        server = cloud.create_server(ServerRequest(identity, cloud.images[0], cloud.flavors[0], b"#cloud-config\n"))
        facts = {"server_id": server.id, "first_word_at": world.now, "matched_at": world.now, "jobs": 1}
        steps.append(Step(one.vm_id, VMState.PLANNED, VMState.RUNNING, world.now, "at work", facts=facts))
        world.dirac.pilots[one.pilot_reference] = PilotFacts(PilotState.RUNNING, 1)
    assert all(world.store.move_all(steps))


def rows_read(store, question, counter="Handler_read%"):
    """How many rows or index entries the server reads for a question, whose answer must be true."""

    def total():
        with store._engine.connect() as connection:
            status = connection.execute(text(f"SHOW SESSION STATUS LIKE '{counter}'"))
            return sum(int(value) for name, value in status if name != "Handler_read_rnd_deleted")

    before = total()
    assert question()
    return total() - before
