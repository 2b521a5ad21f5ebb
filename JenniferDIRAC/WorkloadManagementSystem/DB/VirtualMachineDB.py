"""The VirtualMachineStore at the database that DIRAC's configuration names."""

from DIRAC.ConfigurationSystem.Client.Utilities import getDBParameters
from DIRAC.Core.Base.DIRACDB import DIRACDB
from sqlalchemy import URL, create_engine

from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable, VirtualMachineStore

# In seconds. A database that hangs must not hang the director: it gives up, and tries again in its next cycle.
CONNECT_TIMEOUT = 10
ANSWER_TIMEOUT = 60
POOL_RECYCLE = 3600


class VirtualMachineDB(DIRACDB):
    """DIRAC's way to the store, which is ``VirtualMachineDB().store``; missing tables are made.

    Options of /Systems/WorkloadManagement/Databases/VirtualMachineDB: DBName and, unless they stand in
    /Systems/Databases, Host, Port, User and Password.

    :raises StoreUnavailable: the database does not answer, or an option is missing
    """

    fullname = "WorkloadManagement/VirtualMachineDB"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        result = getDBParameters(self.fullname)
        if not result["OK"]:
            raise StoreUnavailable(
                f"{result['Message']}: expected it in /Systems/WorkloadManagement/Databases/VirtualMachineDB "
                "(Host, Port, User and Password also in /Systems/Databases)"
            )
        parameters = result["Value"]
        url = URL.create(
            "mysql+mysqldb",
            username=parameters["User"],
            password=parameters["Password"],
            host=parameters["Host"],
            port=parameters["Port"],
            database=parameters["DBName"],
            query={"charset": "utf8mb4"},
        )
        timeouts = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": ANSWER_TIMEOUT,
            "write_timeout": ANSWER_TIMEOUT,
        }
        self.store = VirtualMachineStore(
            create_engine(
                url, pool_pre_ping=True, pool_recycle=POOL_RECYCLE, connect_args=timeouts, hide_parameters=True
            )
        )
