"""The lab's pilot on this host, without a VM: what it costs to run a job when no machine has to be started."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from lab.dirac import Lab
from lab.dirac.answers import ask

SITE, CE, QUEUE = "CLOUD.GRIF.fr", "grif-qemu", "el-1core"
_ONE_JOB = "--MaxCycles=1 --PollingTime=10 --StopAfterFailedMatches=0"


def register_pilot(reference: str, stamp: str, vo: str) -> None:
    """Enter the pilot as a director does at submission."""
    from DIRAC.WorkloadManagementSystem.Client.PilotManagerClient import PilotManagerClient

    manager = PilotManagerClient()
    ask(manager.addPilotReferences, [reference], vo, "Cloud", {reference: stamp})
    ask(manager.setPilotStatus, reference, "Submitted", CE, "on the host", SITE, QUEUE)


def pilot_proxy(vo: str):
    from DIRAC.FrameworkSystem.Client.ProxyManagerClient import gProxyManager
    from DIRAC.WorkloadManagementSystem.private.ConfigHelper import findGenericPilotCredentials

    dn, group = ask(lambda: findGenericPilotCredentials(vo=vo))
    return ask(lambda: gProxyManager.downloadProxy(dn, group, limited=True, requiredTimeLeft=3600))


def run_pilot(lab: Lab, vo: str, reference: str, stamp: str, directory: Path) -> subprocess.CompletedProcess:
    """DIRAC's own pilot wrapper fetches the pilot files and runs the pilot in ``directory``, for one job at most.

    Neither its path nor this Python's may have a space: DIRAC takes those out of DIRACSYSCONFIG, and starts its job
    wrapper by an unquoted path.
    """
    from DIRAC.WorkloadManagementSystem.Utilities.PilotWrapper import (
        getPilotFilesCompressedEncodedDict,
        pilotWrapperScript,
    )

    environment_script = directory / "diracosrc"
    environment_script.write_text(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n')
    installed = shlex.quote(f"--preinstalledEnv={environment_script}")
    options = f"-N {CE} -Q {QUEUE} -n {SITE} --wnVO={vo} {installed} -P 1 -m 1 {_ONE_JOB}"
    wrapper = directory / "wrapper.sh"
    files = getPilotFilesCompressedEncodedDict([], pilot_proxy(vo))
    location = f"{lab.address}:{lab.ports.pilot_files}"
    wrapper.write_text(pilotWrapperScript(files, options, location=location, CVMFS_locations=["/nowhere"]))
    wrapper.chmod(0o700)
    for name in ("vomsdir", "vomses"):
        (directory / name).mkdir()
        (directory / name / "README").write_text("not empty, or a pilot stops\n")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "PILOT_UUID": reference,
        "DIRAC_PILOT_STAMP": stamp,
        "X509_CERT_DIR": str(lab.ca_directory),
        "X509_VOMS_DIR": str(directory / "vomsdir"),
        "X509_VOMSES": str(directory / "vomses"),
    }
    return subprocess.run([wrapper], cwd=directory, env=environment, capture_output=True, text=True, timeout=300)
