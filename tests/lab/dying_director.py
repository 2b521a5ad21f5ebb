"""Directors that die at a step of their first cycle: a process that forks one for each number on its standard input.

A step is a call to the store, to the cloud or to DIRAC. The director of number N is ended by SIGKILL as it is about to
make its Nth call. For each number one line is printed: ``died``, or ``done`` when the cycle was over before.
"""

import functools
import itertools
import os
import signal
import sys
import threading

from lab.dirac import Lab

lab = Lab(os.environ["LAB_ROOT"], port_offset=int(os.environ["LAB_OFFSET"]))
lab.activate()

from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint  # noqa: E402
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore  # noqa: E402
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices  # noqa: E402
from lab.dirac.director import new_director  # noqa: E402


def count_calls(target, before) -> None:
    """Have ``before`` called before each public method of a class, or of an object's class."""
    for name, method in list(vars(target).items()):
        if callable(method) and not name.startswith("_") and not isinstance(method, (type, staticmethod, classmethod)):
            setattr(target, name, _counted(method, before))


def _counted(method, before):
    @functools.wraps(method)
    def wrapped(*arguments, **words):
        before()
        return method(*arguments, **words)

    return wrapped


def cycle(last: int) -> None:
    """One cycle of a new director, which dies at its call number ``last``."""
    numbers, lock = itertools.count(1), threading.Lock()

    def step():
        with lock:
            number = next(numbers)
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    director = new_director()
    parts = {type(part) for part in vars(director._store).values() if type(part).__module__.startswith("JenniferDIRAC")}
    for target in (VirtualMachineStore, DiracServices, QEMUEndpoint, *parts):
        count_calls(target, step)
    director.cycle()


for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(2, 1)  # the answers stand alone on the standard output
        cycle(int(line))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    print("died" if died else "done" if status == 0 else f"failed {status}", flush=True)
