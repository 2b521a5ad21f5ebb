"""A director on the lab's services, and the command of its operators."""

import subprocess
from datetime import timedelta

import pytest
from lab_world import COMMAND

from lab.dirac.director import new_director


@pytest.fixture
def blank_image(dirac):
    """A disk that boots nothing: enough for everything that a director can see from outside."""
    dirac.images.mkdir(parents=True, exist_ok=True)
    image = dirac.images / "blank.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    yield image
    image.unlink(missing_ok=True)


@pytest.fixture
def director(dirac, blank_image, cs):
    """A director in this process, on the real services, whose VMs boot the blank disk."""
    cs(
        {
            f"/Resources/Sites/{site.split('.')[0]}/{site}/CEs/{ce}/Queues/el-1core/Image": "name:blank"
            for site, ce in (("CLOUD.GRIF.fr", "grif-qemu"), ("VCYCLE.Napoli.it", "napoli-qemu"))
        }
    )
    director = new_director()
    director._pilots._vanished_grace = timedelta(0)  # nobody waits here for a server to come back
    return director


@pytest.fixture
def command(lab):
    def run(*words: str, user: str = "adm", group: str = "dirac_admin", proxy: str = ""):
        environment = lab.environment(X509_USER_PROXY=proxy or str(lab.proxy(user, group)))
        return subprocess.run([COMMAND, *words], env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def tell(command):
    """Run a verb that is to succeed, and give what it printed."""

    def run(*words: str) -> str:
        done = command(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def mistake(command):
    """Run a verb that is to end with this code and say this, and in plain words."""

    def run(words, code: int, said: str) -> None:
        done = command(*words)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr

    return run
