"""CloudDirector: starts virtual machines for the jobs that wait in the task queues of its VOs.

.. literalinclude:: ../ConfigTemplate.cfg
"""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from datetime import UTC, datetime
from functools import partial

from DIRAC import S_ERROR, S_OK
from DIRAC.Core.Base.AgentModule import AgentModule

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import read_director_config
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices
from JenniferDIRAC.WorkloadManagementSystem.Director.Director import Director, RefusedToStart


class CloudDirector(AgentModule):
    """The agent: DIRAC's border around ``Director``."""

    def initialize(self):
        """Refuse to start, saying why, on a set-up that cannot work."""
        self.am_setOption("PollingTime", 30)
        try:
            store = VirtualMachineDB(parentLogger=self.log).store
            self.director = Director(
                store,
                DiracServices(),
                self.log,
                now=lambda: datetime.now(UTC),
                read_config=partial(read_director_config, self.am_getModuleParam("fullName")),
            )
            self.director.check_setup()
            self.director.keep_leases()
        except (RefusedToStart, StoreUnavailable) as error:
            self.log.fatal("The CloudDirector does not start", str(error))
            return S_ERROR(str(error))
        # DIRAC's agents know no signal: without this one, SIGTERM would end the process without ``finalize``.
        atexit.register(self._release)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        return S_OK()

    def finalize(self):
        """The agent's orderly end."""
        self._release()
        return S_OK()

    def _release(self) -> None:
        try:
            self.director.release()
        except StoreUnavailable as error:
            self.log.warn("The leases could not be released and will run out", str(error))

    def execute(self):
        """One cycle. A database that is away, or a wrong option of its own, costs the cycle, nothing else."""
        try:
            self.director.cycle()
        except (StoreUnavailable, ConfigError) as error:
            return S_ERROR(f"Nothing was done in this cycle: {error}")
        if not gc.get_freeze_count():
            # Ten thousand records stay for long: were each of them looked at time and again, that would cost a second.
            gc.collect()
            gc.freeze()
        return S_OK()
