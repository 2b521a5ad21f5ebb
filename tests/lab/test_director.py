"""The CloudDirector in a real DIRAC, with the embedded cloud: servers are real QEMU processes on a blank disk."""

import os
import signal
import subprocess
import sys
import textwrap
from datetime import datetime, timedelta

import pytest
from lab_world import leases_run_out, pilots, servers, store, submit

from lab.dirac import jobs
from lab.dirac.answers import ask

SITES = {"CLOUD.GRIF.fr", "VCYCLE.Napoli.it"}


def test_without_jobs_there_are_no_vms(dirac, director):
    director.cycle()
    assert servers(dirac) == []
    assert all(report.wanted_cores == 0 for report in store().reports())


def test_each_vo_gets_one_vm_with_a_registered_pilot_and_no_more_in_the_next_cycles(dirac, director):
    submit("belle", "t2k.org", "hyperk.org")
    for _ in range(3):
        director.cycle()
    records = store().select()
    assert sorted(record.vo for record in records) == ["belle", "hyperk.org", "t2k.org"]
    assert {record.vm_type.site for record in records} == SITES
    assert sorted(server.name[-32:] for server in servers(dirac)) == sorted(record.vm_id for record in records)
    info = pilots()
    for record in records:
        pilot = info[record.pilot_reference]
        assert (pilot["PilotStamp"], pilot["VO"], pilot["GridSite"]) == (
            record.pilot_stamp,
            record.vo,
            record.vm_type.site,
        )


def test_a_banned_site_gets_nothing_and_the_report_says_why(dirac, director, cs):

    from DIRAC.ResourceStatusSystem.Client.ResourceStatusClient import ResourceStatusClient
    from DIRAC.ResourceStatusSystem.Client.SiteStatus import SiteStatus

    def set_status(status):
        now = datetime.utcnow()
        ask(
            lambda: ResourceStatusClient().modifyStatusElement(
                "Site", "Status", "CLOUD.GRIF.fr", "all", status, "Site", "test", now, now, "test", now + timedelta(1)
            )
        )
        SiteStatus().rssCache.refreshCache()  # else this process believes what it heard up to 2 minutes ago

    set_status("Banned")
    try:
        cs({"/Resources/Sites/VCYCLE/VCYCLE.Napoli.it/CEs/napoli-qemu/MaxVMs": "1"})
        submit("belle", "belle")
        director.cycle()
        assert {record.vm_type.site for record in store().select()} == {"VCYCLE.Napoli.it"}
        (line,) = [
            report.line for report in store().reports() if (report.site, report.vo) == ("CLOUD.GRIF.fr", "belle")
        ]
        assert "is Banned in the site mask" in line
    finally:
        set_status("Active")


def test_a_ce_that_the_resource_status_does_not_know_yet_gets_nothing_and_the_other_everything(dirac, director, cs):
    cs({"/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/CEType": "Unused"})
    new = "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/new-qemu"
    queue = {"Image": "name:blank", "Flavor": "cores>=1", "maxCPUTime": "1440", "MaxRAM": "1024"}
    cs(
        {f"{new}/CEType": "JenniferQEMU", f"{new}/ImageDirectory": str(dirac.images)}
        | {f"{new}/StateDirectory": str(dirac.root / "qemu/new")}
        | {f"{new}/Queues/q/{name}": value for name, value in queue.items()}
    )
    submit("belle", "belle")
    director.cycle()
    assert {record.vm_type.ce for record in store().select()} == {"napoli-qemu"}


def test_a_vo_without_a_pilot_credential_is_refused_alone_and_by_name(dirac, director, cs):
    cs({"/Operations/t2k.org/Pilot/GenericPilotUser": "nobody"})
    submit("belle", "t2k.org")
    director.cycle()
    assert [record.vo for record in store().select()] == ["belle"]
    problems = {report.vo: report.problem for report in store().reports() if report.site == "CLOUD.GRIF.fr"}
    assert "t2k.org" in problems["t2k.org"]
    assert problems["belle"] == ""


def test_a_broken_option_disables_its_endpoint_only_and_is_named(dirac, director, cs):
    cs({"/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/MaxVMs": "many"})
    submit("belle", "t2k.org")
    director.cycle()
    assert {record.vm_type.site for record in store().select()} == {"VCYCLE.Napoli.it"}
    (problem,) = {report.problem for report in store().reports() if report.site == "CLOUD.GRIF.fr"}
    assert "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/MaxVMs" in problem
    assert "many" in problem


def test_a_director_killed_between_create_and_record_doubles_nothing(dirac, director):
    """The process dies by SIGKILL as soon as the cloud has made the server; a new one adopts it."""
    submit("belle")
    dying = textwrap.dedent("""
        import os, signal
        from lab.dirac import Lab
        lab = Lab(os.environ["LAB_ROOT"], port_offset=int(os.environ["LAB_OFFSET"]))
        lab.activate()
        from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint
        create = QEMUEndpoint.create_server
        def die(self, request):
            create(self, request)
            os.kill(os.getpid(), signal.SIGKILL)
        QEMUEndpoint.create_server = die
        from lab.dirac.director import new_director
        new_director().cycle()
    """)
    environment = dirac.environment(LAB_ROOT=str(dirac.root), LAB_OFFSET=str(dirac.ports.offset))
    died = subprocess.run(
        [sys.executable, "-c", dying], env=environment, cwd=dirac.root, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    (record,) = store().select()
    assert (record.state.value, record.server_id, len(servers(dirac))) == ("Planned", "", 1)

    leases_run_out()
    for _ in range(3):
        director.cycle()
    (record,) = store().select()
    (server,) = servers(dirac)
    assert (record.server_id, record.state.value) == (server.id, "Booting")
    assert list(pilots()) == [record.pilot_reference]


def test_a_vm_killed_from_outside_has_vanished_and_its_job_is_rescheduled_by_dirac(dirac, director, cs):
    """The payload is matched and reported as running; then the machine is gone, disk and all."""
    from DIRAC.WorkloadManagementSystem.Client.JobStateUpdateClient import JobStateUpdateClient
    from DIRAC.WorkloadManagementSystem.DB.PilotAgentsDB import PilotAgentsDB

    (job,) = submit("belle")
    director.cycle()
    director.cycle()
    (record,) = store().select()
    assert match_job(dirac, record) == job
    update = JobStateUpdateClient()
    ask(update.setJobStatus, job, "Running", "Application", "test")
    ask(update.setJobParameter, job, "Pilot_Reference", record.pilot_reference)
    ask(update.sendHeartBeat, job, {}, {})
    director.cycle()
    assert (store().get(record.vm_id).jobs, store().get(record.vm_id).state.value) == (1, "Running")

    from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint

    for state in (dirac.root / "qemu").iterdir():
        QEMUEndpoint(state.name, state, dirac.images).delete_server(
            record.server_id or store().get(record.vm_id).server_id
        )
    director.cycle()
    assert store().get(record.vm_id).state.value == "Running"
    director.cycle()
    assert store().get(record.vm_id).outcome.value == "Vanished"
    info = PilotAgentsDB().getPilotInfo(record.pilot_reference)["Value"]
    assert info[record.pilot_reference]["Status"] == "Aborted"

    agent = "/Systems/WorkloadManagement/Agents/StalledJobAgent"
    cs(
        {
            # a job is stalled after half a cycle of its wrapper's watchdog
            "/Systems/WorkloadManagement/JobWrapper/CheckingTime": "1",
            "/Systems/WorkloadManagement/JobWrapper/MinCheckingTime": "1",
            f"{agent}/StalledTimeHours": "0",
            f"{agent}/FailedTimeHours": "0",
            f"{agent}/StalledJobsToRescheduleSites": record.vm_type.site,
        }
    )
    for _ in range(3):  # one cycle finds it stalled, another sees to it
        run_agent(dirac, "StalledJobAgent")
    assert "Rescheduled" in [event.state.status for event in jobs.history(job)]


def test_a_vm_whose_process_is_killed_while_its_pilot_works_has_vanished(dirac, director):
    submit("belle")
    for _ in range(2):
        director.cycle()
    (record,) = store().select()
    match_job(dirac, record)
    director.cycle()
    (process,) = dirac.virtual_machines()
    os.kill(int(process.split()[-1]), signal.SIGKILL)
    for _ in range(4):
        director.cycle()
    ended = store().get(record.vm_id)
    assert (ended.state.value, ended.outcome.value, ended.jobs) == ("Ended", "Vanished", 1)
    assert pilots()[record.pilot_reference]["Status"] == "Aborted"
    assert servers(dirac) == []


def run_agent(lab, name: str) -> str:
    """One cycle of an agent as a process of its own; its log."""
    command = [os.path.join(os.path.dirname(sys.executable), "dirac-agent"), f"WorkloadManagement/{name}"]
    agent = subprocess.run(
        [*command, "-o", "MaxCycles=1", "-o", "PollingTime=10", "-o", "LogLevel=INFO"],
        env=lab.environment(),
        cwd=lab.root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    log = agent.stdout + agent.stderr
    assert agent.returncode == 0, log
    return log


def match_job(lab, record) -> int:
    """Ask the Matcher for a job with the pilot's credential, as the pilot in the VM does."""
    from DIRAC.Core.Base.Client import Client

    proxy = str(lab.proxy("pilot", "belle_pilot"))
    matcher = Client(url="WorkloadManagement/Matcher", useCertificates=False, proxyLocation=proxy)
    resource = {
        "Site": record.vm_type.site,
        "GridCE": record.vm_type.ce,
        "CPUTime": 86400,
        "MaxRAM": 1024,
        "NumberOfProcessors": 1,
        "PilotReference": record.pilot_reference,
        "DIRACVersion": "test",
        "PilotInfoReportedFlag": False,
        "PilotBenchmark": 10,
    }
    return int(ask(matcher.requestJob, resource)["JobID"])


def test_mariadb_gone_between_create_and_record_loses_nothing(dirac, director, monkeypatch):
    """It goes away while the cloud makes the server, and is back in the next cycle: the server is adopted."""
    from contextlib import ExitStack

    from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint
    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable

    submit("belle")
    create = QEMUEndpoint.create_server
    with ExitStack() as outage:

        def create_while_the_database_goes(self, request):
            server = create(self, request)
            outage.enter_context(dirac.away("mariadbd"))
            return server

        monkeypatch.setattr(QEMUEndpoint, "create_server", create_while_the_database_goes)
        with pytest.raises(StoreUnavailable):
            director.cycle()
        with pytest.raises(StoreUnavailable):
            director.cycle()
    for _ in range(2):
        director.cycle()
    (record,), (server,) = store().select(), servers(dirac)
    assert (record.server_id, record.state.value) == (server.id, "Booting")


def test_while_the_services_are_away_nothing_starts_and_afterwards_everything_goes_on(dirac, director):
    submit("belle")
    with dirac.away("services"):
        director.cycle()
        assert servers(dirac) == []
    director.cycle()
    assert len(servers(dirac)) == 1


def test_the_agent_runs_as_a_process_and_its_log_has_a_line_for_each_endpoint_and_vo(dirac, director):
    submit("t2k.org")
    log = run_agent(dirac, "CloudDirector")
    for site in SITES:
        for vo in ("belle", "t2k.org", "hyperk.org"):
            assert sum(site in line and f" {vo}: " in line for line in log.splitlines()) == 1
    assert len(servers(dirac)) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"/DIRAC/VirtualOrganization": "belle"}, "/DIRAC/VirtualOrganization"),
        ({"/Systems/WorkloadManagement/Agents/CloudDirector/VO": "belle, nowhere"}, "nowhere"),
        ({"/Systems/WorkloadManagement/Agents/CloudDirector/MaxBooting": "-1"}, "CloudDirector/MaxBooting"),
    ],
)
def test_a_broken_setup_is_refused_at_the_start_with_its_reason(dirac, director, cs, options, words):
    from JenniferDIRAC.WorkloadManagementSystem.Director.Director import RefusedToStart

    cs(options)
    with pytest.raises(RefusedToStart, match=words):
        director.check_setup()
