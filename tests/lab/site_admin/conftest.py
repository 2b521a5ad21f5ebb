"""A site admin at a real DIRAC with a real OpenStack, and everything put back afterwards."""

import os
import subprocess

import pytest
import yaml
from site_admin_world import COMMAND, forget_status

from lab.dirac.answers import ask


@pytest.fixture
def clouds(cloud, project, tmp_path):
    """The clouds.yaml of a site admin with one project; ``clouds(name=entry, …)`` adds others."""
    path = tmp_path / "clouds.yaml"
    entries = {"test-cloud": cloud.password_entry(project)}

    def write(**more):
        entries.update({name.replace("_", "-"): entry for name, entry in more.items()})
        path.write_text(yaml.safe_dump({"clouds": entries}))
        path.chmod(0o600)

    write()
    write.path = path
    return write


@pytest.fixture
def anywhere(clouds, tmp_path):
    """The command on a host that knows no DIRAC server and has no proxy."""

    def run(*words: str):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DIRAC_NO_CFG": "1"}
        environment |= {"DIRAC_ROOT_PATH": str(tmp_path), "OS_CLIENT_CONFIG_FILE": str(clouds.path)}
        return subprocess.run([COMMAND, *words], env=environment, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def environment(lab, clouds):
    """Of the command on a host of this DIRAC, with the proxy of an administrator."""

    def make(user: str = "adm", group: str = "dirac_admin") -> dict[str, str]:
        return lab.environment(X509_USER_PROXY=str(lab.proxy(user, group)), OS_CLIENT_CONFIG_FILE=str(clouds.path))

    return make


@pytest.fixture
def command(environment):
    def run(*words: str, **who: str):
        options = {"capture_output": True, "text": True, "timeout": 180, "stdin": subprocess.DEVNULL}
        return subprocess.run([COMMAND, *words], env=environment(**who), **options)

    return run


@pytest.fixture
def change(lab):
    """``change({path: value})`` changes the CS, None removes an option or a section; all is put back afterwards."""
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI

    api = CSAPI()
    before = ask(api.getCurrentCFG).clone()
    sites = set(before["Resources"]["Sites"]["CLOUD"].listSections())

    def set_options(options):
        api = CSAPI()
        for path, value in options.items():
            if value is None:
                (api.delOption if api.getCurrentCFG()["Value"].isOption(path) else api.delSection)(path)
            else:
                ask(api.setOption, path, value)
        ask(api.commit)
        changed.update(options)

    changed: dict[str, str | None] = {}
    yield set_options
    now = ask(CSAPI().getCurrentCFG)
    added = set(now["Resources"]["Sites"]["CLOUD"].listSections()) - sites
    old = {path: before.getOption(path.strip("/")) for path in changed if path.split("/")[4] not in added}
    set_options(old | {f"/Resources/Sites/CLOUD/{site}": None for site in added})


@pytest.fixture
def dirac(lab, change):
    """The lab without the site that tests register."""
    forget_status()
    yield lab
    forget_status()
