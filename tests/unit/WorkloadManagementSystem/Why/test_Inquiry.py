"""What is gathered for each question: a real store, a DIRAC in memory, and two endpoints."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine
from why_world import EL9, FULL, NOW, ago, lever, plan, stopped, unmet

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, ConfigProblem
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import UnknownVM, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import LeverKind, PilotState, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Why.Inquiry import Inquiry
from JenniferDIRAC.WorkloadManagementSystem.Why.Target import NoSuchTarget
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyJob import JobFacts

NAPOLI = VMTypeKey("VCYCLE.Napoli.it", "napoli", "el9")
VM = "abcdef01" * 4
ROW = {"OwnerGroup": "belle_user", "CPUTime": 600, "Jobs": 5, "Tags": []}


class MemoryDirac:
    """DIRAC's answers, as a test sets them; what is in ``away`` does not answer."""

    def __init__(self):
        self.jobs, self.queues = {}, {7: ROW}
        self.in_queue = {12: 7}
        self.named = {EL9: {7}, NAPOLI: {7}}
        self.unusable, self.away = {}, set()

    def _answer(self, who, value):
        if who in self.away:
            raise DiracUnavailable(f"{who}: connection refused")
        return value

    def job(self, job):
        return self._answer("JobMonitoring", self.jobs.get(job))

    def task_queue_of(self, job):
        return self._answer("TaskQueueDB", self.in_queue.get(job))

    def task_queue(self, id):
        return self._answer("TaskQueueDB", self.queues.get(id))

    def matched(self, parameters):
        no_answer = DiracUnavailable("the Matcher: connection refused")
        return {key: no_answer if "Matcher" in self.away else frozenset(self.named.get(key, ())) for key in parameters}

    def unusable_endpoints(self, keys):
        return self._answer("ResourceStatus", {key: self.unusable[key] for key in keys if key in self.unusable})

    def pilot_state(self, reference):
        return self._answer("PilotManager", PilotState.WAITING)


def config(key: VMTypeKey, **other) -> EndpointConfig:
    vm_type = VMTypeConfig(
        site=key.site,
        ce=key.ce,
        queue=key.queue,
        vos=frozenset(),
        cpu_time=86400,
        wall_time=timedelta(days=1),
        image="name:el9",
        flavor="cores>=1",
        **other,
    )
    return EndpointConfig(site=key.site, ce=key.ce, ce_type="JenniferFake", max_vms=4, vm_types=(vm_type,))


@pytest.fixture
def world():
    """Everything that an inquiry is made of; ``explain`` asks."""
    world = SimpleNamespace(
        store=VirtualMachineStore(create_engine("sqlite://")),
        dirac=MemoryDirac(),
        sites=CloudSites((config(EL9, number_of_processors=1, max_ram=2048), config(NAPOLI))),
        policy=Policy,
    )

    def explain(target=""):
        inquiry = Inquiry(
            world.store,
            world.dirac,
            lambda group: group.split("_")[0],
            NOW,
            lambda: world.sites,
            lambda: world.policy(),
        )
        return inquiry.explain(target)

    def boot(vm, key=EL9, minutes=1.0, spoke=None, queue=7):
        intent = Intent(vm, key, "belle", 4, 8192, queue, f"cloud://{vm}", "0" * 32, "el9")
        world.store.record_intents([intent], ago(minutes))
        world.store.move(vm, VMState.PLANNED, VMState.BOOTING, ago(minutes), "active")
        if spoke is not None:
            world.store.note(vm, first_word_at=ago(minutes - spoke))

    world.explain, world.boot = explain, boot
    world.dirac.jobs[12] = JobFacts(12, "Waiting", group="belle_user", owner="alice", vo="belle")
    return world


def said(explanation) -> str:
    return "\n".join(explanation.sentences)


def test_a_waiting_job_is_explained_as_its_task_queue(world):
    world.store.plans.save(plan(0.2, unmet(), stops=[stopped()]))
    told = world.explain("12")
    assert (told.kind, told.target) == ("job", "12")
    assert told.sentences[0] == "Job 12 of alice in belle_user is Waiting, in task queue 7."
    assert told.sentences[1:] == world.explain("tq:7").sentences
    assert "2 cores of it get nothing: CLOUD.GRIF.fr/grif: MaxVMs 4 reached" in said(told)
    assert "Of 2 VM types, 2 match" in said(told)


def test_a_job_that_does_not_wait_asks_nothing_more(world):
    world.dirac.jobs[12] = JobFacts(12, "Running", site="CLOUD.GRIF.fr")
    world.dirac.away = {"TaskQueueDB", "Matcher"}
    assert world.explain("12").sentences == ["Job 12 is Running at CLOUD.GRIF.fr: it waits for no VM."]
    assert world.explain("job:13").sentences == ["DIRAC knows no job 13."]


def test_a_waiting_job_in_no_task_queue_is_lost_to_the_matcher(world):
    world.dirac.in_queue = {}
    assert "It is in no task queue: the Matcher gives it to nobody" in said(world.explain("12"))


def test_what_does_not_answer_is_named_and_the_rest_is_told(world):
    world.store.plans.save(plan(0.2, unmet(), stops=[stopped()]))
    world.dirac.away = {"JobMonitoring", "Matcher"}
    told = world.explain("12")
    assert told.not_asked == ["JobMonitoring: connection refused"]
    assert told.sentences[0].startswith("Task queue 7 of belle: 5 jobs wait")
    assert "the Matcher gave no answer (the Matcher: connection refused); by its rules it should match" in said(told)
    assert told.sentences[-1] == "Could not be asked: JobMonitoring: connection refused."


def test_a_task_queue_is_told_from_the_plan_when_its_database_is_away(world):
    world.store.plans.save(plan(0.2, unmet(), stops=[stopped()]))
    world.dirac.away = {"TaskQueueDB"}
    told = world.explain("tq:7")
    assert told.sentences[0].startswith("Task queue 7 of belle, as the last plan saw it: 5 jobs wait")
    assert "MaxVMs 4 reached" in said(told)
    assert told.sentences[-1] == "Could not be asked: TaskQueueDB: connection refused."


def test_a_task_queue_that_is_gone_is_told_so(world):
    assert "There is no task queue 99, or it is empty" in said(world.explain("tq:99"))


def test_the_first_word_is_expected_by_the_median_of_recent_boots(world):
    for number, took in enumerate((1, 2, 60)):
        world.boot(f"{number}" * 32, minutes=100, spoke=took)
    world.boot(VM, minutes=1.5)
    world.store.plans.save(plan(answers=[Answer(7, "belle", 5, 1, (VM, "0" * 32))]))
    assert (
        "1 VM is on its way for it at CLOUD.GRIF.fr/grif/el9 (1 Booting); the first word is expected in about 30 s."
        in world.explain("12").sentences
    )


def test_a_vm_that_the_last_cycle_started_is_coming_although_no_plan_counted_it_yet(world):
    world.boot(VM)
    world.store.plans.save(plan(answers=[Answer(7, "belle", 5, 1, started={EL9: 1})]))
    assert "1 VM is on its way for it" in said(world.explain("tq:7"))


def test_a_vm_type_of_unknown_size_takes_that_of_its_last_vm(world):
    world.dirac.queues[7] = {**ROW, "Tags": ["4Processors", "MultiProcessor"]}
    world.dirac.named = {}
    unknown = "VCYCLE.Napoli.it/napoli/el9: the jobs want 4 processors, it offers as many as its flavor has"
    assert unknown in said(world.explain("tq:7"))
    assert "CLOUD.GRIF.fr/grif/el9: the jobs want 4 processors, it offers 1." in world.explain("tq:7").sentences
    world.boot(VM, NAPOLI, queue=1)
    world.dirac.named = {NAPOLI: {7}}
    assert "Of 2 VM types, 1 matches: VCYCLE.Napoli.it/napoli/el9." in world.explain("tq:7").sentences


def test_a_vm_is_explained_with_its_levers_and_without_a_policy_by_the_defaults(world):
    world.boot(VM)
    world.store.note(VM, pilot_entered_at=ago(1))
    world.store.levers.pull(lever(LeverKind.HOLD, vm=VM), NOW)
    world.store.levers.pull(lever(LeverKind.DRAIN, site="VCYCLE.Napoli.it"), NOW)

    def broken():
        raise ConfigError([ConfigProblem("/Systems/x/MaxVMs", "a number", "many")])

    world.policy = broken
    told = world.explain("abcdef01")
    assert (told.kind, told.target) == ("vm", VM)
    assert told.sentences == world.explain(f"vm:{VM}").sentences == world.explain(f"cloud://{VM}").sentences
    assert [line for line in told.sentences if "Lever" in line] == [
        "Lever 1, nothing ends it before: held by anna: disk migration."
    ]
    assert "14 min left for that" in said(told)
    assert told.not_asked == ["/Systems/x/MaxVMs: expected a number, found many"]
    with pytest.raises(UnknownVM):
        world.explain("vm:ffffff")


def test_a_place_is_told_with_levers_in_force_and_its_holder(world):
    world.boot(VM)
    world.store.plans.save(plan(0.2, unmet(), stops=[stopped()]))
    world.store.levers.pull(lever(LeverKind.OVERRIDE, site=EL9.site, option="MaxVMs", value=9), NOW)
    world.store.leases.take([EL9.endpoint], "director at host1", timedelta(minutes=1))
    told = world.explain("CLOUD.GRIF.fr")
    assert (told.kind, told.target) == ("place", "CLOUD.GRIF.fr")
    assert told.sentences == [
        "CLOUD.GRIF.fr/grif is usable: its site and its CE are Active.",
        "The director director at host1 looks after it.",
        "Lever 1: MaxVMs 9 of each endpoint of CLOUD.GRIF.fr set by anna: disk migration.",
        "In use: 1 of 9 VMs, 4 cores.",
        "belle: 1 VM, 4 cores.",
        "CLOUD.GRIF.fr/grif/el9 for belle: MaxVMs 4 reached (4 in use) "
        "(/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif/MaxVMs; set by anna: disk migration, lever 1); "
        "so for 12 s at least.",
    ]
    assert world.explain("CLOUD.GRIF.fr/grif/el9").sentences == world.explain("grif").sentences == told.sentences


def test_a_broken_or_banned_place_is_told_so(world):
    path = "/Resources/Sites/CLOUD/CLOUD.X.fr/CEs/x/MaxVMs"
    world.sites = CloudSites(world.sites.endpoints, (ConfigProblem(path, "a number", "many"),))
    world.dirac.unusable = {NAPOLI.endpoint: "site VCYCLE.Napoli.it is Banned in the site mask"}
    assert f"CLOUD.X.fr/x is disabled by its configuration: {path}: expected a number" in said(
        world.explain("CLOUD.X.fr")
    )
    assert "napoli is not usable: site VCYCLE.Napoli.it is Banned" in said(world.explain("VCYCLE.Napoli.it"))
    with pytest.raises(NoSuchTarget, match="did you mean CLOUD.X.fr"):
        world.explain("CLOUD.Y.fr")


def test_a_cloud_that_cannot_be_listed_is_not_called_usable_although_nothing_is_wanted(world):
    world.store.plans.save(plan(answers=[], unusable={"VCYCLE.Napoli.it/napoli": "connection refused"}))
    not_usable = "VCYCLE.Napoli.it/napoli is not usable: connection refused."
    assert world.explain("napoli").sentences[0] == world.explain().sentences[1] == not_usable
    assert world.explain("grif").sentences[0] == "CLOUD.GRIF.fr/grif is usable: its site and its CE are Active."
    assert world.explain("grif").sentences[-1] == "Nothing was wanted of CLOUD.GRIF.fr/grif/el9 in the last plan."
    assert not any("Nothing was wanted" in line for line in world.explain("napoli").sentences)


def test_a_vo_that_got_nothing_there_is_told_with_the_reason(world):
    refused = {
        "t2k.org": "no pilot credential",
        "CLOUD.GRIF.fr/grif belle": "no proxy",
        "VCYCLE.Napoli.it/napoli belle": "x",
    }
    world.store.plans.save(plan(refused=refused))
    assert [line for line in world.explain("grif").sentences if "gets nothing" in line] == [
        "belle gets nothing: no proxy.",
        "t2k.org gets nothing: no pilot credential.",
    ]


def test_everything_is_short(world):
    world.store.plans.save(plan(answers=[]))
    assert world.explain().sentences == ["Nothing waits: no task queue has jobs for any VM type."]
    world.dirac.unusable = {NAPOLI.endpoint: "site is Banned"}
    world.store.levers.pull(lever(LeverKind.PAUSE), NOW)
    world.store.plans.save(plan(0.1, unmet(detail=FULL)))
    told = world.explain().sentences
    assert told[0] == "No VM is started anywhere: paused by anna: disk migration."
    assert told[1].startswith(
        "Task queue 7 of belle: 5 jobs; 2 cores get nothing, MaxVMs: CLOUD.GRIF.fr/grif: MaxVMs 4"
    )
    assert told[2:] == ["VCYCLE.Napoli.it/napoli is not usable: site is Banned."]
