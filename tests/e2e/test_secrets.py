"""The whole demo with everything at debug level, and then a search for every secret of it in all that it left."""

import base64
import gzip
import json
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from demo_world import PORT_OFFSET, start
from needles import Needles, forms, key_lines, tokens
from sqlalchemy import create_engine, text

from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import digest, unseal
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import render_user_data
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError, GatewayAccess, PilotProxy, VMContext
from lab.dirac import Lab

COMMAND = Path(sys.executable).parent / "dirac-admin-cloud"
VOS = ("belle", "t2k.org", "hyperk.org")
PLACES = ("grif-qemu", "napoli-qemu")
LOOK_SECONDS = 1.0
# Where a secret has to be, below the lab's root. Everything else there is searched.
# - keys and proxies of the lab's CA, host and users; all for their owner only
# - the guests' disks, and the seeds from which cloud-init reads: for root only, deleted with the VM
# - MariaDB's own files: ProxyDB is where DIRAC keeps proxies. The tables are searched row by row.
LEGITIMATE = (
    "etc/grid-security/ca.key",
    "etc/grid-security/hostkey.pem",
    "users/*/userkey.pem",
    "users/*/proxy_*.pem",
    "qemu/*/*/disk*",
    "qemu/*/*/seed.iso",
    "mysql/**/*",
)
NOT_SEARCHED = {"ProxyDB", "mysql", "sys", "performance_schema", "information_schema"}
# The password of the lab's database, Dirac, is no needle: it is a name too, and guards what listens on loopback only.


class Watch:
    """What is there only while the demo runs: secrets, rows, consoles, and processes with what they were started by."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.needles = Needles()
        self.tickets: dict[str, str] = {}
        self.envelopes: dict[str, dict] = {}
        self.sessions: set[str] = set()
        self.provoked: dict[str, str] = {}
        self.rows: dict[str, set[bytes]] = defaultdict(set)
        self.consoles: dict[Path, bytes] = {}
        self.processes: dict[bytes, str] = {}
        address = f"mysql://Dirac:Dirac@127.0.0.1:{lab.ports.database}/"
        self._seeds: set[Path] = set()
        self._engine = create_engine(address, isolation_level="AUTOCOMMIT")

    def look(self) -> None:
        self._look_at_processes()
        for path in self.lab.root.glob("qemu/*/*/console.log"):
            with suppress(FileNotFoundError):
                self.consoles[path] = path.read_bytes()
        for seed in set(self.lab.root.glob("qemu/*/*/seed.iso")) - self._seeds:
            self._look_at_seed(seed)
        if not self.tickets:
            return
        self._look_at_rows()
        for vm, row in self._gateway_sessions().items():
            if vm in self.tickets and vm not in self.envelopes and row["sealed"]:
                self._open(vm, row["sealed"])
            if row["digest"]:
                self.sessions.add(row["digest"])
                if vm in self.tickets and vm not in self.provoked:
                    self.provoked[vm] = provoke_gateway(self.lab, vm, self.tickets)

    def _look_at_seed(self, seed: Path) -> None:
        with suppress(FileNotFoundError):
            files = {one["path"]: one for one in user_data_of(seed).get("write_files", [])}
            if "/etc/jennifer/ticket" not in files:
                return  # it is being written, or is gone
            vm = json.loads(plain(files["/etc/jennifer/vm.json"]))["vm_id"]
            ticket = plain(files["/etc/jennifer/ticket"]).strip()
            self._seeds.add(seed)
            self.tickets[vm] = ticket
            self.needles.add("a VM's ticket", ticket)

    def _open(self, vm: str, sealed: bytes) -> None:
        self.envelopes[vm] = unseal(self.tickets[vm], sealed)
        self.needles.add("the key of a pilot's proxy", *key_lines(self.envelopes[vm]["credential"]["pem"]))

    def _gateway_sessions(self) -> dict[str, dict]:
        with self._engine.connect() as connection:
            query = text("SELECT vm_id, sealed, digest FROM VirtualMachineDB.GatewaySessions")
            return {row.vm_id: dict(row._mapping) for row in connection.execute(query)}

    def _look_at_rows(self) -> None:
        with self._engine.connect() as connection:
            schemas = set(connection.execute(text("SHOW DATABASES")).scalars()) - NOT_SEARCHED
            tables = [
                (schema, table)
                for schema in schemas
                for table in connection.execute(text(f"SHOW TABLES FROM `{schema}`")).scalars()
            ]
            for schema, table in tables:
                for row in connection.execute(text(f"SELECT * FROM `{schema}`.`{table}`")):
                    cells = (cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)
                    self.rows[f"{schema}.{table}"].add(b" | ".join(cells))

    def _look_at_processes(self) -> None:
        mine = str(self.lab.root).encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                told = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
                if mine in told:
                    self.processes.setdefault(told, f"{process.name} {told[:60]!r} {len(self.processes)}")


def user_data_of(seed: Path) -> dict:
    """Empty while it is not whole."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "user-data")
        command = ["xorriso", "-osirrox", "on", "-indev", str(seed), "-extract", "/user-data", str(target)]
        try:
            subprocess.run(command, capture_output=True, check=True)
            return yaml.safe_load(target.read_text()) or {}
        except (subprocess.CalledProcessError, FileNotFoundError, yaml.YAMLError):
            return {}


def plain(file: dict) -> str:
    return gzip.decompress(base64.b64decode(file["content"])).decode()


def provoke_gateway(lab: Lab, vm: str, tickets: dict[str, str]) -> str:
    """What the gateway answers to tickets that were used, are another VM's, or stand where they do not belong."""
    mine, url = tickets[vm], f"https://{lab.address}:{lab.ports.gateway}"
    base, session = f"{url}/vm/v1/{vm}", "s" * 43
    others = [ticket for other, ticket in tickets.items() if other != vm]
    bodies = [{"ticket": ticket, "session": session} for ticket in (mine, *others)]
    bodies += [
        {"ticket": session, "session": mine},
        {mine: session},
        {"ticket": f"{mine}x", "session": 1},
        [mine],
        mine,
    ]
    requests = [("POST", f"{base}/redeem", json.dumps(body).encode(), {}) for body in bodies]
    requests += [
        ("POST", f"{base}/redeem", b'{"ticket": "' + mine.encode(), {}),
        ("POST", f"{base}/redeem?ticket={mine}", b"{}", {}),
        ("POST", f"{base}/heartbeat", b"{}", {"Authorization": f"Bearer {mine}"}),
        ("POST", f"{base}/end", b"{}", {"Authorization": f"Basic {mine}"}),
        ("GET", f"{url}/health", None, {"Authorization": f"Bearer {mine}"}),
        ("GET", f"{url}/openapi.json", None, {}),
    ]
    trust, answers = ssl.create_default_context(cafile=str(lab.ca_file)), []
    for method, address, body, headers in requests:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json", **headers}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
                answers.append(f"{answer.status} {answer.headers} {answer.read()}")
        except urllib.error.HTTPError as error:
            answers.append(f"{error.code} {error.headers} {error.read()}")
    statuses = [answer.split()[0] for answer in answers]
    assert "200" not in statuses[: len(requests) - 2], "a wrong ticket was redeemed"
    return "\n".join(answers)


def provoke_templates(directory: Path, envelope: dict, ticket: str) -> str:
    """What is told of templates that stumble over the real ticket and the real proxy."""
    proxy = Secret(envelope["credential"]["pem"])
    context = VMContext(
        *("v" * 32, "jennifer-v", "CLOUD.GRIF.fr", "grif-qemu", "el-1core", "belle", "reference", "stamp"),
        pilot_argv=("pilot",),
        pilot_env={},
        pilot_file_urls=(),
        credential=PilotProxy(proxy),
        max_lifetime=timedelta(hours=1),
        gateway=GatewayAccess("https://gateway.example:9164", Secret(ticket), timedelta(minutes=15)),
    )
    told = []
    for stumble in (
        "{{ vm.gateway.ticket.reveal() }}",
        "{{ vm.gateway.ticket._text }}",
        "{{ vm.credential.reveal() }}",
        "{{ vm.credential.proxy | int(none) + [] }}",
        "{{ (files[2].content | b64) // 2 }}",
        "{{ {}[files[2].content | b64] }}",
        "{{ (files[2].content | b64 | list).nothing.at_all }}",
        "{% include files[2].content | b64 %}",
        "{% include vm.credential.proxy | b64 %}",
        "key: {{ vm.credential.proxy | b64 }}: : {",
        "key: !!int {{ vm.gateway.ticket | b64 }}",
        "key: !{{ vm.gateway.ticket | b64 }} x",
        "key: *{{ vm.credential.proxy | b64 | truncate(200) }}",
        "{{ vm.credential.proxy | sh }}",
        "{{ vm | yaml }}",
    ):
        template = directory / "stumbling.j2"
        template.write_text(f"#cloud-config\n{stumble}\n")
        with pytest.raises(ContextError) as caught:
            render_user_data(replace(context, template=str(template)))
        told += [str(caught.value), *traceback.format_exception(caught.value)]
    return "\n".join([*told, repr(context), str(vars(context))])


def run(lab: Lab, *words: str) -> bytes:
    """What an operator's command prints."""
    environment = lab.environment(X509_USER_PROXY=str(lab.proxy("adm", "dirac_admin")))
    done = subprocess.run([COMMAND, *words], env=environment, capture_output=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert said and b"Traceback" not in said, (words, said)
    return said


def printed(lab: Lab, vms: list[str], jobs: list[str]) -> dict[str, bytes]:
    commands = [("status",), ("status", "--json"), ("vms", "--all"), ("vms", "--all", "--json"), *whys(jobs, vms)]
    commands += [("render", place, "el-1core", "--vo", vo) for place in PLACES for vo in VOS]
    for vm in vms:
        commands += [("show", vm), ("show", vm, "--json"), ("logs", vm), ("console", vm)]
        commands += [("logs", vm, label) for label in ("jennifer", "pilot", "cloud-init")]
    return {" ".join(words): run(lab, *words) for words in commands}


def whys(jobs: list[str], vms: list[str]) -> list[tuple[str, ...]]:
    return [("why", what) for what in (*jobs, *vms)]


def keys_of(root: Path) -> list[Path]:
    found = [path for pattern in LEGITIMATE[:4] for path in root.glob(pattern)]
    assert len(found) >= 2 + 2 * 3, found
    return found


def searched(root: Path) -> list[Path]:
    """All files below the lab's root but those that are to hold secrets."""
    excepted = {path for pattern in LEGITIMATE for path in root.glob(pattern)}
    return [path for path in root.rglob("*") if path.is_file() and path not in excepted]


def test_no_secret_is_in_any_log_preview_exception_row_or_process_of_the_whole_demo_at_debug_level(root, tmp_path):
    lab = Lab(root, port_offset=PORT_OFFSET)
    watch = Watch(lab)
    progress, timeline = tmp_path / "progress", tmp_path / "timeline"
    with open(progress, "w") as told, open(timeline, "w") as out:
        demo = start(root, "--debug", "--keep", "--json", stdout=out, stderr=told)
        end = time.monotonic() + 1500
        while demo.poll() is None:
            assert time.monotonic() < end, progress.read_text()
            watch.look()
            time.sleep(LOOK_SECONDS)
    assert demo.returncode == 0, progress.read_text()
    watch.look()
    record = json.loads(timeline.read_text())
    assert {job["vo"]: job["status"] for job in record["jobs"]} == dict.fromkeys(VOS, "Done")

    # Every secret is known …
    vms = [vm["vm_id"] for vm in record["vms"]]
    assert set(watch.tickets) == set(watch.envelopes) == set(watch.provoked) == set(vms) and len(vms) >= 3
    assert len(watch.sessions) == len(vms)
    for path in keys_of(root):
        watch.needles.add(f"the key in {path.relative_to(root)}", *key_lines(path.read_text()))

    # … everything was at debug level …
    for name, level in {"CloudDirector": "DEBUG", "services": "DEBUG", "gateway": "VERBOSE"}.items():
        assert f" {level}: " in lab.processes.log(name).read_text(errors="replace"), name

    # … and the search finds what is there.
    planted = root / "log/planted.log"
    for what, secrets in watch.needles.secrets.items():
        for form in forms(max(secrets)):
            planted.write_bytes(b"so it is " + form + b" then")
            assert what in watch.needles.in_files([planted])[str(planted)]
    planted.unlink()

    things = {str(path.relative_to(root)): path.read_bytes() for path in searched(root)}
    assert {f"cloud-logs/{label}.log" for label in ("jennifer", "pilot", "cloud-init")} <= {
        f"cloud-logs/{Path(name).name}" for name in things if name.startswith("cloud-logs/")
    }
    things |= {f"last seen of {path}": said for path, said in watch.consoles.items()}
    things |= {f"rows of {table}": b"\n".join(rows) for table, rows in watch.rows.items()}
    things |= {f"process {name}": told for told, name in watch.processes.items()}
    things |= {"gateway's answers": "\n".join(watch.provoked.values()).encode()}
    vm = vms[0]
    things["errors of templates"] = provoke_templates(tmp_path, watch.envelopes[vm], watch.tickets[vm]).encode()
    things |= printed(lab, vms, [str(job["id"]) for job in record["jobs"]])
    things |= {path.name: path.read_bytes() for path in (progress, timeline)}

    assert watch.rows.keys() >= {"VirtualMachineDB.GatewaySessions", "PilotAgentsDB.PilotAgents", "JobDB.Jobs"}
    found = {place: hits for place, data in things.items() if (hits := watch.needles.in_data(data))}
    assert found == {}
    keys = {place for place, data in things.items() if b"PRIVATE KEY" in data}
    assert keys == set()
    # A VM makes its session itself, so that only its digest is known here.
    spoken = {place for place, data in things.items() if watch.sessions & set(map(digest, tokens(data)))}
    assert spoken == set()
