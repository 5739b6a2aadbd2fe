"""The processor time of trees of processes, and of everybody else, from /proc."""

import os
import time

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        # The second field is the program's name in parentheses and may hold blanks.
        return file.read().rsplit(")", 1)[1].split()


def _tree(roots):
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                children.setdefault(int(_stat(name)[1]), []).append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, open_pids = set(), list(roots)
    while open_pids:
        pid = open_pids.pop()
        if pid not in found:
            found.add(pid)
            open_pids.extend(children.get(pid, []))
    return found


def processor_seconds(roots):
    """Processor time of these processes and of all below them so far.

    Children that have ended are counted by the parent that waited for them, so nothing is lost
    when a server's process for one connection ends.
    """
    seconds = 0.0
    for pid in _tree(roots):
        try:
            seconds += sum(int(ticks) for ticks in _stat(pid)[11:15]) / TICKS
        except (FileNotFoundError, ProcessLookupError):
            continue
    return seconds


def _busy_seconds():
    """Processor time of everybody, and what a host has given to others of its guests."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


class Account:
    """What these processes consume from now on, and what everybody else does meanwhile."""

    def __init__(self, roots):
        self.roots = roots
        self.own, self.all, self.began = processor_seconds(roots), _busy_seconds(), time.monotonic()

    def close(self, steps):
        own = processor_seconds(self.roots) - self.own
        others = _busy_seconds() - self.all - own
        elapsed = time.monotonic() - self.began
        return {"cpuMicrosPerStep": own * 1e6 / max(steps, 1), "othersCores": max(others, 0) / elapsed}
