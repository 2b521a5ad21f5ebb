"""One job on one VM: where the time goes, beside the same job and pilot on this host without a VM (the floor).

    python -m benchmarks.one_vm [--runs 3]

Run it in the project's environment (``./run benchmark``), on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import datetime
from statistics import mean

from rich.console import Console
from rich.table import Table

from lab.dirac import home

_VO = "belle"
# beside a demo that was kept, and beside the tests
_PORT_OFFSET = int(os.environ.get("JENNIFERDIRAC_PORT_OFFSET", "0")) + 1000
_HOST = """
import sys, tempfile, time, uuid
from pathlib import Path
from lab.dirac import Lab, jobs
lab = Lab(Path(sys.argv[1]))
lab.up()
try:
    lab.activate()
    from lab.pilot.on_host import register_pilot, run_pilot
    job = jobs.submit("belle", "#!/bin/sh\\ntrue\\n")
    jobs.wait_for([job], {"Waiting"}, 120)
    reference, stamp = f"cloud://host/{uuid.uuid4()}", uuid.uuid4().hex
    register_pilot(reference, stamp, "belle")
    with tempfile.TemporaryDirectory() as work:
        start = time.time()
        run_pilot(lab, "belle", reference, stamp, Path(work))
    done = next(event.at.timestamp() for event in jobs.history(job) if event.state.status == "Done")
    print(done - start)
finally:
    lab.down()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    root = str(home() / "lab-benchmark")
    host = mean(float(_python(["-c", _HOST, root])) for _ in range(runs))
    records = [json.loads(_python(["-m", "lab.demo", "--json", "--vo", _VO, "--root", root])) for _ in range(runs)]
    lives = [phases(record) for record in records]
    table = Table("Phase", "Mean (s)", "Least (s)", "Most (s)", title=f"One job on one VM, {runs} runs")
    for name in lives[0]:
        seconds = [life[name] for life in lives]
        table.add_row(name, f"{mean(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}")
    done = mean(record["jobs"][0]["seconds"]["create_to_done"] for record in records)
    console = Console(width=100)
    console.print(table)
    console.print(
        f"Create to Done: {done:.1f} s. The same pilot and job on this host: {host:.1f} s. Ratio {done / host:.2f}."
    )
    console.print(f"The director: {max(record['director_mib'] for record in records)} MiB.")
    return 0


def phases(record: dict) -> dict[str, float]:
    """Seconds from the submission to the end of the VM's record, one after the other."""
    (job,), (vm,) = record["jobs"], record["vms"]
    reached = {step["target"]: step["at"] for step in vm["history"]}
    moments = [
        ("", job["submitted"]),
        ("submitted → create request (the director's polling)", vm["created_at"]),
        ("create request → first word (boot, cloud-init)", vm["first_word"]),
        ("first word → matched (pilot files, imports of JobAgent)", job["moments"]["Matched"]),
        ("matched → running (sandbox, start of the job wrapper)", job["moments"]["Running"]),
        ("running → Done (payload, watchdog, sandbox upload)", job["moments"]["Done"]),
        ("Done → seen stopped (end of JobAgent, power-off, polling)", reached["Deleting"]),
        ("deleted → record ended (two listings)", reached["Ended"]),
    ]
    times = [(name, datetime.fromisoformat(at)) for name, at in moments]
    return {name: (at - before).total_seconds() for (_, before), (name, at) in zip(times, times[1:], strict=False)}


def _python(arguments: list[str]) -> str:
    environment = {**os.environ, "JENNIFERDIRAC_PORT_OFFSET": str(_PORT_OFFSET)}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
