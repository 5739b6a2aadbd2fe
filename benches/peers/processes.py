"""The processor time of trees of processes, from /proc."""

import os

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
