"""One VM of the golden image on the embedded cloud, from its start until it has switched itself off."""

from __future__ import annotations

import os
import select
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from JenniferDIRAC.Resources.Cloud import QEMUEndpoint as qemu
from JenniferDIRAC.Resources.Cloud.Choice import choose_flavor, choose_image
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity, ServerRequest, ServerStatus
from lab.dirac import home
from lab.image import golden_image

# Without KVM on a busy machine; a quiet one needs a tenth of it.
LIFE_SECONDS = 400


def whole_life(
    directory: Path, user_data: bytes, vm_id: str = "", meanwhile: Callable[[], object] = lambda: None
) -> str:
    """The console of a VM that lived in this directory, which is empty before and after.

    :param meanwhile: called twice a second
    """
    cloud = qemu.QEMUEndpoint("here", directory, golden_image(home() / "images").parent)
    catalogue = cloud.catalogue()
    request = ServerRequest(
        identity=Identity(uuid.uuid4().hex, vm_id or uuid.uuid4().hex, "belle", 1),
        image=choose_image("dirac_version>=9.1", catalogue),
        flavor=choose_flavor("cores>=1, ram>=1", catalogue),
        user_data=user_data,
    )
    server = cloud.create_server(request)
    try:
        (pid,) = qemu._processes()[server.id]
        process = os.pidfd_open(pid)
        end, ended = time.monotonic() + LIFE_SECONDS, []
        while not ended and time.monotonic() < end:
            ended = select.select([process], [], [], 0.5)[0]
            meanwhile()
        os.close(process)
        console = cloud.console_log(server.id)
        assert ended, console
        assert cloud.find_server(server.name).status is ServerStatus.STOPPED
        return console
    finally:
        cloud.delete_server(server.id)
