"""What the kept plans say, of which director, and since when."""

from datetime import timedelta

from why_world import EL9, FULL, LARGE, NOW, ago, plan, stopped, unmet

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Create, Limit
from JenniferDIRAC.WorkloadManagementSystem.Why.LastPlans import LastPlans

CREATE = Create(EL9, "belle", 1, 0, 7)


def of_el9(vm_type, vo):
    return vm_type == EL9


def test_without_a_plan_and_with_an_old_one_the_director_is_asked_for():
    assert LastPlans([], NOW).trouble() == ("No plan is kept: is the CloudDirector running?",)
    (old,) = LastPlans([plan(90)], NOW).trouble()
    assert old == "The last plan is 1 h 30 min old: is the CloudDirector running? What follows is of that plan."
    assert LastPlans([plan(1)], NOW).trouble() == ()


def test_a_plan_that_did_not_know_the_demand_says_so():
    plans = LastPlans([plan(1, problem="demand is unknown: the Matcher: refused")], NOW)
    assert plans.trouble() == ("In the last plan, demand is unknown: the Matcher: refused.",)


def test_the_newest_plan_that_knows_a_task_queue_answers():
    newer, older = Answer(7, "belle", 5, 1), Answer(7, "belle", 9, 1)
    plans = LastPlans([plan(5, answers=[older]), plan(1, answers=[newer])], NOW)
    assert plans.answers() == {7: newer}


def test_of_several_directors_each_one_counts_with_its_last_plan():
    mine, others = Answer(7, "belle", 5, 1), Answer(8, "t2k.org", 5, 1)
    both = [plan(1, answers=[mine]), plan(2, answers=[others], director="d2")]
    assert set(LastPlans(both, NOW).answers()) == {7, 8}
    gone = [both[0], plan(60, answers=[others], director="d2")]
    assert set(LastPlans(gone, NOW).answers()) == {7}


def test_since_when_is_the_time_of_the_last_plan_that_said_otherwise():
    # The one that says so for an hour is kept once, with its last time.
    plans = LastPlans([plan(0.1, unmet()), plan(61), plan(70, unmet())], NOW)
    ((told, hindrance),) = plans.unmet()[7]
    assert (told, hindrance.since, hindrance.at_least, hindrance.at) == (unmet(), ago(61), False, ago(0.1))


def test_another_number_or_another_queue_is_no_break_and_another_limit_is_one():
    other = unmet(Limit.BACKOFF, "back-off")
    plans = LastPlans([plan(1, unmet(cores=9)), plan(2, unmet(cores=3), unmet(queue=8)), plan(3, other)], NOW)
    ((_, hindrance),) = plans.unmet()[7]
    assert hindrance.since == ago(3)


def test_when_every_kept_plan_says_so_it_has_been_so_since_the_oldest_at_least():
    ((_, hindrance),) = LastPlans(
        [plan(1, unmet()), plan(5, unmet()), plan(9, answers=[], director="d2")], NOW
    ).unmet()[7]
    assert (hindrance.since, hindrance.at_least) == (ago(5), True)


def test_what_stops_a_vm_type_comes_with_what_is_left_of_it():
    left = timedelta(seconds=90)
    backoff = stopped(Limit.BACKOFF, "back-off", left=left)
    plans = LastPlans([plan(1, unmet(Limit.BACKOFF, "back-off"), stops=[backoff, stopped(vm_type=LARGE)])], NOW)
    (hindrance,) = plans.stops(of_el9)
    assert (hindrance.vm_type, hindrance.limit, hindrance.left) == (EL9, Limit.BACKOFF, left)
    assert [one.vm_type for one in plans.stops(lambda vm_type, vo: vo == "belle")] == [EL9, LARGE]
    ((_, same),) = plans.unmet()[7]
    assert same.left == left
    assert plans.stops(lambda vm_type, vo: vo == "t2k.org") == ()
    assert FULL in plans.stops(lambda vm_type, vo: vm_type == LARGE)[0].detail


def test_a_queue_that_one_director_serves_is_served_and_their_vms_add_up():
    mine = plan(1, unmet(), answers=[Answer(7, "belle", 5, 1, ("a",), 1.0, {EL9: 1}, jobs_from_running=0.5)])
    others = Answer(7, "belle", 6, 1, ("a", "b"), 2.0, {EL9: 1, LARGE: 2}, jobs_from_running=1.5)
    others = plan(2, answers=[others], director="d2")
    plans = LastPlans([mine, others], NOW)
    assert plans.unmet() == {}
    assert plans.answers() == {7: Answer(7, "belle", 5, 1, ("a", "b"), 2.0, {EL9: 2, LARGE: 2}, jobs_from_running=1.5)}


def test_of_several_directors_the_one_that_looks_after_the_endpoint_tells_why():
    elsewhere = "its servers could not be listed: it is another director's"
    mine = plan(1, unmet(Limit.ENDPOINT_UNUSABLE, elsewhere), stops=[stopped(Limit.ENDPOINT_UNUSABLE, elsewhere)])
    others = plan(2, unmet(), stops=[stopped()], director="d2")
    plans = LastPlans([mine, others], NOW, {EL9.endpoint: "d2"})
    assert [one.limit for _, one in plans.unmet()[7]] == [Limit.ENDPOINT_MAX_VMS]
    assert [one.limit for one in plans.stops(of_el9)] == [Limit.ENDPOINT_MAX_VMS]
    # A holder that has made no plan yet cannot tell.
    alone = LastPlans([mine], NOW, {EL9.endpoint: "d2"})
    assert [one.limit for one in alone.stops(of_el9)] == [Limit.ENDPOINT_UNUSABLE]


def test_refusals_of_all_directors_are_known():
    plans = [plan(1, refused={"t2k.org": "no credential"}), plan(2, refused={"A/a belle": "no proxy"}, director="d2")]
    assert LastPlans(plans, NOW).refused() == {"t2k.org": "no credential", "A/a belle": "no proxy"}


def test_what_stops_the_best_vm_type_is_told_in_its_own_words_and_not_in_those_of_all():
    of_all = unmet(detail=f"{FULL}; other: full")
    ((told, hindrance),) = LastPlans([plan(1, of_all, stops=[stopped(), stopped(vm_type=LARGE)])], NOW).unmet()[7]
    assert (told.detail, hindrance.detail) == (of_all.detail, FULL)


def test_an_endpoint_is_unusable_by_the_word_of_the_director_that_looks_after_it():
    grif = EL9.endpoint
    plans = [plan(1, unusable={str(grif): "connection refused"}), plan(2, director="d2", creates=[CREATE])]
    assert LastPlans(plans, NOW, {grif: "d1"}).unusable(grif) == "connection refused"
    assert LastPlans(plans, NOW, {grif: "d2"}).unusable(grif) == ""
    assert LastPlans(plans, NOW).started(grif) == {EL9}
