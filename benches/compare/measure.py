"""Runs a process and measures it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

LONGEST_SECONDS = 1200


class Failed(Exception):
    """A process that did not do its work, and why."""


@dataclass
class Run:
    wall: float
    cpu: float
    peak_mib: float
    # How many cores other processes kept busy meanwhile.
    others: float
    said: str

    def numbers(self) -> dict[str, float]:
        numbers = asdict(self)
        numbers.pop("said")
        return numbers


def measure(command: list[str], folder: Path, environment: dict[str, str]) -> Run:
    """Runs a program in a folder to its end.

    CPU time is of the process and of those that it waited for; the peak is that of the largest of them. The kernel counts
    what this process held when it forked as theirs, so no peak is below the few MiB of this one.
    """
    log = folder / "log.txt"
    with log.open("wb") as file:
        busy, begun = busy_seconds(), time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, process_group=0
        )
        timer = threading.Timer(LONGEST_SECONDS, os.killpg, [process.pid, signal.SIGKILL])
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall, busy = time.perf_counter() - begun, busy_seconds() - busy
        except KeyboardInterrupt:
            # It has a group of its own, which the terminal does not interrupt.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text(errors="replace")
    if process.returncode != 0:
        raise Failed(reason(process.returncode, wall, said))
    cpu = usage.ru_utime + usage.ru_stime
    return Run(wall, cpu, usage.ru_maxrss / 1024, max(busy - cpu, 0) / wall, said)


def busy_seconds() -> float:
    """How long all cores together have not been idle; 0 where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, stat.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def reason(returncode: int, wall: float, said: str) -> str:
    if wall >= LONGEST_SECONDS:
        return f"took longer than {LONGEST_SECONDS} s"
    if returncode == -signal.SIGKILL:
        return f"killed after {wall:.0f} s, as the system does when memory is used up"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"exit {returncode} after {wall:.0f} s: {lines[-1] if lines else 'it said nothing'}"
