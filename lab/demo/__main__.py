"""``./run demo``: see the package's docstring."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from diraccfg import CFG

from lab.common.undisturbed import undisturbed
from lab.demo.clouds import CLOUDS, DemoCloud
from lab.demo.display import Display, console, final_table
from lab.demo.options import parse
from lab.demo.record import Job, Record, Step
from lab.dirac import FOREIGN_VARIABLES, Lab, LabError
from lab.vos import VOS

_PATIENCE = 900.0  # s; three jobs on a machine without hardware virtualisation take about 4 minutes
_LOOK_EVERY = 1.0
_PAYLOAD = """#!/bin/sh
echo "hello from a job of {vo}"
echo "host $(hostname), user $(id -un), $(nproc) core(s), up for $(cut -d. -f1 /proc/uptime) s"
"""
_GREETING = "hello from a job of {vo}"


def main(words: Sequence[str] | None = None) -> int:
    arguments = parse(words)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that clean-up runs
    record = Record()
    lab = Lab(arguments.root)
    if arguments.debug:
        lab.log_level = "DEBUG"
    cloud = CLOUDS[arguments.cloud](lab)
    keep = arguments.keep
    try:
        lab.require_down()  # before an image is built for nothing
        cloud.require_down()
        with Display(record, to_stderr=arguments.json) as display:
            pilot = (arguments.pilot, arguments.pilot_branch) if arguments.pilot else None
            Demo(lab, cloud, record, display, pilot).run(arguments.vo or list(VOS))
    except LabError as error:
        record.problems.append(str(error))
    except KeyboardInterrupt:
        keep = False
        return 130
    except SystemExit:
        keep = False
        raise
    finally:
        if (lab.claimed or cloud.claimed) and not keep:
            _take_down(lab, cloud, record)
    if arguments.json:
        print(json.dumps(record.as_json(), indent=1))
    summary = console(to_stderr=arguments.json)
    final_table(record, summary)
    if lab.claimed:
        summary.print(_how_to_explore(lab, cloud), markup=False, soft_wrap=True)
    return 0 if record.ok else 1


def _take_down(lab: Lab, cloud: DemoCloud, record: Record) -> None:
    with undisturbed():
        with suppress(OSError):  # nobody may be listening any more
            print("taking everything down …", file=sys.stderr, flush=True)
        for part in (lab, cloud):  # the director first
            if not part.claimed:
                continue
            try:
                part.down()
            except LabError as error:
                record.problems.append(str(error))
                print(error, file=sys.stderr)


class Demo:
    """The steps, in order."""

    def __init__(self, lab: Lab, cloud: DemoCloud, record: Record, display: Display, pilot: tuple[str, str] | None):
        """:param pilot: repository and branch of the pilot, None for the stand-in"""
        self._lab = lab
        self._cloud = cloud
        self._pilot = pilot
        self._record = record
        self._display = display

    def run(self, vos: list[str]) -> None:
        """:raises LabError: a step failed"""
        for name, work in self._cloud.steps():
            with self._step(name) as step:
                work(partial(self._note, step))
        with self._step("DIRAC server") as step:
            with tempfile.TemporaryDirectory() as directory:
                extra = _pilot_options(Path(directory, "pilot.cfg"), *self._pilot) if self._pilot else []
                extra += self._cloud.sites(Path(directory))
                self._lab.up(extra, partial(self._note, step), qemu_sites=self._cloud.qemu_sites)
            self._lab.activate()
            import DIRAC  # only now: it takes its root from what activate() has set

            DIRAC.gLogger.setLevel("FATAL")  # its clients would print in the middle of the picture
        with self._step("CloudDirector"):
            director = self._lab.start_agent(**self._cloud.director_environment())
        from lab.demo.watch import Watch  # DIRAC may be imported only now that the lab is activated

        watch = Watch(self._record, self._cloud.consoles)
        with self._step(f"{len(vos)} jobs submitted"):
            self._submit(vos)
        with self._step("jobs done") as step:
            self._wait(watch, step, director, self._jobs_pending, "jobs are not Done")
        self._record.director_mib = self._memory_of("CloudDirector")
        with self._step("VMs cleared away") as step:
            self._wait(watch, step, director, self._vms_pending, "VM records have not ended")
        with self._step("nothing left behind"):
            watch.finish()
            self._check()

    @contextmanager
    def _step(self, name: str) -> Iterator[Step]:
        step = Step(name, time.monotonic())
        self._record.steps.append(step)
        self._display.refresh()
        yield step
        step.seconds = round(time.monotonic() - step.began, 1)
        self._display.refresh()

    def _note(self, step: Step, text: str) -> None:
        step.note = text
        self._display.refresh()

    def _submit(self, vos: list[str]) -> None:
        from lab.dirac import jobs

        for vo in vos:
            job = jobs.submit(vo, _PAYLOAD.format(vo=vo))
            self._record.jobs[job] = Job(job, vo, datetime.now(UTC))
            self._display.refresh()

    def _wait(self, watch, step: Step, director, pending, complaint: str) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            watch.look()
            left = pending()
            self._note(step, f"waiting for {', '.join(left)}" if left else "")
            if not left:
                return
            if director.poll() is not None:
                raise LabError(f"the CloudDirector ended with code {director.returncode}: see {self._log()}")
            if time.monotonic() > end:
                raise LabError(f"after {_PATIENCE:.0f} s {complaint}: {', '.join(left)}; see {self._log()}")
            time.sleep(_LOOK_EVERY)

    def _jobs_pending(self) -> list[str]:
        from lab.dirac.jobs import DONE, FINAL

        failed = [job for job in self._record.jobs.values() if job.status in FINAL and job.status != DONE]
        if failed:
            raise LabError(", ".join(f"job {job.id} of {job.vo} is {job.status}" for job in failed))
        return [f"job {job.id}" for job in self._record.jobs.values() if job.status != DONE]

    def _vms_pending(self) -> list[str]:
        return [f"VM {one.id[:8]}" for one in self._record.machines.values() if one.record["state"] != "Ended"]

    def _check(self) -> None:
        """Outputs came back, and no server, process or disk remains."""
        for job in self._record.jobs.values():
            if _GREETING.format(vo=job.vo) not in job.output:
                self._record.problems.append(f"the output of job {job.id} did not come back: {job.output!r}")
        self._record.problems += [f"{thing} remains" for thing in self._cloud.remains()]

    def _memory_of(self, name: str) -> int:
        return next((process.memory_mib for process in self._lab.status() if process.name == name), 0)

    def _log(self):
        return self._lab.processes.log("CloudDirector")


def _pilot_options(path: Path, repository: str, branch: str) -> list[Path]:
    """A CS file that has DIRAC take its pilot from this repository."""
    options = {"pilotRepo": repository, "pilotRepoBranch": branch}
    CFG().loadFromDict({"Operations": {"Defaults": {"Pilot": options}}}).writeToFile(str(path))
    return [path]


def _how_to_explore(lab: Lab, cloud: DemoCloud) -> str:
    variables = {
        "DIRAC_ROOT_PATH": lab.root,
        "DIRAC_NO_CFG": 1,
        "X509_USER_PROXY": lab.proxy("adm", "dirac_admin"),
        "PATH": f"{sys.prefix}/bin",
        **cloud.director_environment(),
    }
    exported = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in variables.items())
    return (
        f"\nAll that runs is kept up. To look around:\n"
        f"  unset {' '.join(FOREIGN_VARIABLES)}\n"
        f'  export {exported}:"$PATH"\n'
        f"  dirac-admin-cloud status\n"
        f"  dirac-admin-cloud vms --all\n"
        f"  dirac-admin-cloud render {cloud.ce} el-1core --vo belle\n"
        f"Logs: {lab.root}/log. Take it down with ./run down"
    )


if __name__ == "__main__":
    sys.exit(main())
