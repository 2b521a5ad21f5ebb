"""No plan goes beyond a limit, of whatever place, and it holds what operators and sites have closed."""

from dataclasses import replace

from hypothesis import event, given
from planner_worlds import KEYS, NEW, NOW, VOS, executed, policies, snapshots

from JenniferDIRAC.WorkloadManagementSystem.Planner.Canary import lived
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import OVER
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, LeverKind, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

STARTING = (VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING)


def carried_out(snapshot, policy):
    """The plan, and the VMs that count once it is carried out: an ended one while its server is listed."""
    plan = plan_cycle(snapshot, policy, NOW)
    listed = {server.vm for endpoint in snapshot.endpoints for server in endpoint.servers or ()}
    return plan, [vm for vm in executed(snapshot, plan).vms if vm.state is not VMState.ENDED or vm.id in listed]


def created_at(plan, endpoint):
    return [create for create in plan.creates if create.vm_type.endpoint == endpoint.key]


def _assert_within(maximum, used):
    assert maximum is None or used <= maximum


def _assert_bounds(bounds, vms, unknown=()):
    _assert_within(bounds.max_vms, len(vms) + len(unknown))
    _assert_within(bounds.max_cores, sum(one.cores for one in (*vms, *unknown)))


def _is(vo, name):
    return vo.lower() == name.lower()


@given(snapshots(), policies)
def test_no_hard_limit_of_an_endpoint_or_vm_type_is_exceeded_counting_intents(snapshot, policy):
    plan, after = carried_out(snapshot, policy)
    for endpoint in snapshot.endpoints:
        creates = created_at(plan, endpoint)
        here = [vm for vm in after if vm.endpoint == endpoint.key]
        if not creates:
            continue
        event("created")
        starting = [vm for vm in here if vm.state in STARTING]
        _assert_bounds(endpoint.bounds, here, endpoint.unknown)
        _assert_within(policy.max_booting, len(starting))
        _assert_within(policy.max_creates_per_cycle, len(creates))
        _assert_within(endpoint.max_starting_cores, sum(vm.cores for vm in starting))
        for vm_type in endpoint.vm_types:
            if any(create.vm_type == vm_type.key for create in creates):
                _assert_bounds(vm_type.bounds, [vm for vm in here if vm.vm_type == vm_type.key])


@given(snapshots(), policies)
def test_no_hard_limit_of_a_vo_is_exceeded_there_or_everywhere(snapshot, policy):
    plan, after = carried_out(snapshot, policy)
    for create in plan.creates:
        of_vo = [vm for vm in after if _is(vm.vo, create.vo)]
        (endpoint,) = (e for e in snapshot.endpoints if e.key == create.vm_type.endpoint)
        for name, bounds in endpoint.vo_bounds.items():
            if _is(name, create.vo):
                event("VO at an endpoint")
                lost = [server for server in endpoint.unknown if _is(server.vo, create.vo)]
                _assert_bounds(bounds, [vm for vm in of_vo if vm.endpoint == endpoint.key], lost)
        for name, bounds in snapshot.vo_bounds.items():
            if _is(name, create.vo):
                event("VO everywhere")
                lost = [server for where in snapshot.endpoints for server in where.unknown if _is(server.vo, create.vo)]
                _assert_bounds(bounds, of_vo, lost)


@given(snapshots(), policies)
def test_the_endpoints_of_a_quota_domain_hold_its_limits_together(snapshot, policy):
    plan, after = carried_out(snapshot, policy)
    for domain, bounds in snapshot.domains.items():
        members = [endpoint for endpoint in snapshot.endpoints if endpoint.domain == domain]
        if any(created_at(plan, endpoint) for endpoint in members):
            event("created")
            keys = {endpoint.key for endpoint in members}
            unknown = [server for endpoint in members for server in endpoint.unknown]
            _assert_bounds(bounds, [vm for vm in after if vm.endpoint in keys], unknown)


@given(snapshots(), policies)
def test_no_quota_of_a_cloud_is_exceeded_by_what_is_reported_and_what_was_asked_since(snapshot, policy):
    plan, after = carried_out(snapshot, policy)
    for endpoint in snapshot.endpoints:
        if not created_at(plan, endpoint):
            continue
        members = [e for e in snapshot.endpoints if e is endpoint or (e.domain and e.domain == endpoint.domain)]
        keys = {member.key for member in members}
        listed = {server.vm for member in members for server in member.servers or ()}
        requested = (VMState.PLANNED, VMState.REQUESTED)
        asked = [vm for vm in after if vm.endpoint in keys and vm.state in requested and vm.id not in listed]
        for cloud in (member.cloud for member in members if member.cloud is not None):
            _assert_within(cloud.max_instances, cloud.used_instances + len(asked))
            _assert_within(cloud.max_cores, cloud.used_cores + sum(vm.cores for vm in asked))
            _assert_within(cloud.max_ram_mib, cloud.used_ram_mib + sum(vm.ram_mib for vm in asked))


@given(snapshots(), policies)
def test_beyond_a_soft_limit_one_vm_at_a_time_is_starting(snapshot, policy):
    """So of the VMs that start at a place after the plan all but one were allowed by the soft limit."""
    plan, after = carried_out(snapshot, policy)
    for endpoint in snapshot.endpoints:
        creates = created_at(plan, endpoint)
        here = [vm for vm in after if vm.endpoint == endpoint.key]
        places = [(endpoint.bounds, here, creates, len(endpoint.unknown))]
        for vm_type in endpoint.vm_types:
            of_type = [create for create in creates if create.vm_type == vm_type.key]
            places.append((vm_type.bounds, [vm for vm in here if vm.vm_type == vm_type.key], of_type, 0))
        for bounds, vms, made, unknown in places:
            soft = bounds.soft_max_vms
            if made and soft is not None and len(vms) + unknown > soft:
                event("beyond")
                starting = sum(1 for vm in vms if vm.state in STARTING)
                assert starting == 1 or len(vms) + unknown - len(made) < soft and len(vms) + unknown <= soft


@given(snapshots(), policies)
def test_nothing_is_started_where_an_operator_has_paused_or_drained(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    standing = [lever for lever in snapshot.levers if lever.until is None or lever.until > NOW]
    if any(lever.kind is LeverKind.PAUSE for lever in standing):
        event("paused")
        assert plan.creates == ()
    for create in plan.creates:
        for lever in (one for one in standing if one.kind is LeverKind.DRAIN):
            names = (create.vm_type.site, create.vm_type.ce, create.vm_type.queue, create.vo)
            drained = zip((lever.site, lever.ce, lever.queue, lever.vo), names, strict=True)
            assert not all(_is(word, name) for word, name in drained if word)


@given(snapshots(), policies)
def test_a_cloud_without_room_for_a_vm_type_is_not_asked_for_it(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    latest = {}
    for end in snapshot.recent_ends:
        if end.no_room:
            latest[end.vm_type] = max(end.at, latest.get(end.vm_type, end.at))
    alive = {vm.vm_type for vm in executed(snapshot, plan).vms if vm.state is VMState.RUNNING}
    for create in plan.creates:
        if create.vm_type in latest and create.vm_type not in alive:
            event("asked again")
            assert NOW - latest[create.vm_type] >= policy.no_room_ttl or latest[create.vm_type] > NOW


@given(snapshots(), policies)
def test_an_untried_version_is_tried_by_one_vm_at_a_time(snapshot, policy):
    snapshot = replace(snapshot, untried={(key, vo): NEW for key in KEYS for vo in VOS})
    plan, after = carried_out(snapshot, policy)
    for (key, vo), version in snapshot.untried.items():
        if any(create.vm_type == key and _is(create.vo, vo) for create in plan.creates):
            event("tried")
            mine = [vm for vm in after if vm.vm_type == key and _is(vm.vo, vo) and vm.version == version]
            assert sum(1 for vm in mine if vm.state not in OVER and not lived(vm)) == 1


@given(snapshots(), policies)
def test_every_stop_has_its_numbers_and_stands_for_a_vm_type_that_was_asked(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    keys = {vm_type.key for endpoint in snapshot.endpoints for vm_type in endpoint.vm_types}
    stops = [(stop.vm_type, stop.vo) for stop in plan.stops]
    assert len(set(stops)) == len(stops)
    for stop in plan.stops:
        event(stop.limit.value)
        assert stop.vm_type in keys and stop.vo in snapshot.vos and stop.detail
        assert stop.left is None or stop.left.total_seconds() > 0
        assert stop.detail.partition("; option ")[2] == stop.option


@given(snapshots(), policies)
def test_without_limits_room_is_all_that_stops(snapshot, policy):
    """Each limit comes from a value that sets it: a world that sets none has none to name."""
    free = replace(
        snapshot,
        endpoints=tuple(
            replace(
                endpoint,
                bounds=Bounds(),
                vo_bounds={},
                cloud=None,
                max_starting_cores=None,
                vm_types=tuple(replace(vm_type, bounds=Bounds()) for vm_type in endpoint.vm_types),
                shares={},
            )
            for endpoint in snapshot.endpoints
        ),
        vo_bounds={},
        domains={},
        levers=(),
        recent_ends=(),
        untried={},
    )
    never = {limit for limit in Limit if "Max" in limit.value or "Quota" in limit.value}
    never |= {Limit.SHARE, Limit.CANARY, Limit.PAUSED, Limit.DRAINED}
    never -= {Limit.MAX_BOOTING, Limit.MAX_CREATES_PER_CYCLE}
    assert not never & {stop.limit for stop in plan_cycle(free, policy, NOW).stops}
