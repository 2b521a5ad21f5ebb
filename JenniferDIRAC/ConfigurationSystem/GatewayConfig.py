"""The gateway's own section: where it listens, and how much a VM may send."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import DIRAC
from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client import PathFinder
from pydantic import Field, model_validator

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import Seconds
from JenniferDIRAC.ConfigurationSystem.SecretCheck import find_secrets
from JenniferDIRAC.ConfigurationSystem.StrictModel import (
    ConfigError,
    ConfigProblem,
    OptionalPath,
    Port,
    Positive,
    StrictModel,
)

SERVICE_NAME = "WorkloadManagement/CloudGateway"
_DIRAC_WORDS = frozenset({"LogBackends", "LogColor", "LogLevel"})


class GatewayConfig(StrictModel):
    """Options of the gateway's section."""

    port: Port = Field(9164, alias="Port", description="where VMs reach it, over TLS, on all the host's addresses")
    log_path: OptionalPath = Field(
        None,
        alias="LogPath",
        description="directory of the VMs' logs, an absolute path; default `data/cloud-logs` below DIRAC's root. Only "
        "the gateway may write there; the VirtualMachineManager service reads them",
    )
    max_file_mib: Positive = Field(
        64,
        alias="MaxFileMiB",
        description="per log of a VM, in MiB: a pilot's output of a week is a few MiB, and one that grows without end "
        "says nothing new",
    )
    max_files_per_vm: Positive = Field(
        16, alias="MaxFilesPerVM", description="logs of one VM: `jennifer-vm` sends three, and templates may add some"
    )
    max_vm_mib: Positive = Field(128, alias="MaxVMMiB", description="all logs of one VM together, in MiB")
    max_total_gib: Positive = Field(
        50,
        alias="MaxTotalGiB",
        description="all logs, in GiB. At nine tenths of it the logs of the VMs that ended first are deleted",
    )
    keep_days: Positive = Field(
        14,
        alias="KeepDays",
        description="days for which an ended VM's logs are kept. Users ask for a failed job within a week or two",
    )
    max_rate_kib: Positive = Field(
        1024,
        alias="MaxRateKiB",
        description="of logs per VM and second, in KiB; after a silence eight seconds' worth at once, and at least one "
        "upload (1 MiB). A VM must not fill a gateway's network",
    )
    chunk_time: Seconds = Field(
        timedelta(seconds=60),
        alias="ChunkSeconds",
        description="how long the body of one request may take: 1 MiB comes in time over 17 KiB/s",
    )
    max_connections: Positive = Field(
        2000,
        alias="MaxConnections",
        description="connections at once; more are told to come later. 2,000 VMs have about ten, and all of them may "
        "come at once after a pause of the gateway",
    )

    @model_validator(mode="after")
    def _a_file_fits(self):
        if self.max_file_mib > self.max_vm_mib:
            wanted = f"at most MaxVMMiB, {self.max_vm_mib}"
            raise ConfigError([ConfigProblem("MaxFileMiB", wanted, str(self.max_file_mib))])
        return self

    @property
    def logs(self) -> Path:
        """The directory of the VMs' logs."""
        return self.log_path or Path(DIRAC.rootPath) / "data" / "cloud-logs"

    @property
    def keep(self) -> timedelta:
        """How long an ended VM's logs are kept."""
        return timedelta(days=self.keep_days)


def read_gateway_config() -> GatewayConfig:
    """The options of the gateway's section.

    :raises ConfigError: an option is unknown or wrong, or looks like a secret
    """
    section = PathFinder.getServiceSection(SERVICE_NAME)
    options = gConfig.getOptionsDict(section).get("Value", {})
    if secrets := find_secrets(section, options):
        raise ConfigError(secrets)
    return GatewayConfig.read(section, options, _DIRAC_WORDS)
