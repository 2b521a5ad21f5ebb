"""``dirac-admin-cloud check --boot`` with a real virtual machine: it speaks, fetches its pilot, and nothing is left."""

import json
import subprocess
import sys
from pathlib import Path

from lab.dirac import home
from lab.dirac.answers import ask
from lab.image import golden_image

COMMAND = Path(sys.executable).parent / "dirac-admin-cloud"
# Without KVM on a busy machine; a quiet one needs a tenth of it.
BOOT_SECONDS = 400


def test_a_vm_type_boots_to_its_first_word_and_leaves_neither_server_nor_pilot_nor_record(dirac):
    golden_image(home() / "images")
    proxy = dirac.proxy("adm", "dirac_admin")
    done = subprocess.run(
        [COMMAND, "check", "grif-qemu", "--boot", "--vo", "t2k.org", "--timeout", str(BOOT_SECONDS), "--json"],
        env=dirac.environment(X509_USER_PROXY=str(proxy)),
        capture_output=True,
        text=True,
        timeout=2 * BOOT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    (trial,) = told["trials"]
    assert (trial["where"], trial["vo"]) == ("CLOUD.GRIF.fr/grif-qemu/el-1core", "t2k.org")
    assert list(trial["seconds"]) == ["requested", "ACTIVE", "first word", "pilot fetched", "deleted and gone"]
    assert list(trial["seconds"].values()) == sorted(trial["seconds"].values())
    assert dirac.virtual_machines() == []
    assert not [path for path in (dirac.root / "qemu").glob("*/*") if path.is_dir()]

    from DIRAC.WorkloadManagementSystem.DB.PilotAgentsDB import PilotAgentsDB

    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB

    assert VirtualMachineDB().store.select() == ()
    assert ask(PilotAgentsDB().selectPilots, {}) == []
