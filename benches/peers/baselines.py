"""What the machine itself can do: the plain disk, and PostgreSQL's own benchmark."""

import os
import subprocess
import time

from processes import Account
from servers import Postgres, scratch

# What one durable step writes at least: a page.
APPEND = bytes([7]) * 4096
# A million accounts: with -N nothing smaller than an account is fought over.
SCALE = 10


class Appends:
    """Appends to one file, each on the disk before the next. There is only one at a time."""

    title = "Baseline: appends of 4 KiB, each synced"

    @staticmethod
    def install():
        """Nothing: the disk is there."""

    def measure(self, span):
        directory = scratch("appends")
        path = directory / "file"
        try:
            with open(path, "wb", buffering=0) as file:
                account, periods = Account([os.getpid()]), []
                began = last = time.perf_counter()
                while last - began < span.seconds:
                    file.write(APPEND)
                    os.fdatasync(file.fileno())
                    now = time.perf_counter()
                    periods.append(now - last)
                    last = now
                closed = account.close(len(periods))
        finally:
            path.unlink(missing_ok=True)
            directory.rmdir()
        return {
            "1": {
                **closed,
                "steps": len(periods),
                "stepsPerSecond": len(periods) / (last - began),
                "msPerStepP50": sorted(periods)[len(periods) // 2] * 1000,
                "diskBytesPerStep": len(APPEND),
                "logBytesPerStep": 0,
            }
        }


class Pgbench:
    """`pgbench -N`: a transaction is one update and one insert; a step here is a transaction."""

    title = "Baseline: transactions of pgbench -N"

    def __init__(self, concurrency, install):
        self.concurrency = concurrency
        self.install = install

    def measure(self, span):
        server = Postgres()
        try:
            self.run(server, "-i", "-q", "-s", SCALE)
            return {str(at_once): self.transactions(server, at_once, span) for at_once in self.concurrency}
        finally:
            server.stop()

    def transactions(self, server, at_once, span):
        size, log = server.bytes(), server.log_bytes()
        account = Account([os.getpid(), *server.roots])
        # It counts whole seconds only.
        seconds = max(1, round(span.seconds))
        output = self.run(server, "-N", "-n", "-c", at_once, "-j", min(at_once, 2), "-T", seconds)
        lines = dict(line.split(" = ", 1) for line in output.splitlines() if " = " in line)
        rate = float(lines["tps"].split()[0])
        done = max(int(rate * seconds), 1)
        return {
            **account.close(done),
            "steps": done,
            "stepsPerSecond": rate,
            # It prints the average only.
            "msPerStepP50": float(lines["latency average"].split()[0]),
            "diskBytesPerStep": (server.bytes() - size) / done,
            "logBytesPerStep": (server.log_bytes() - log) / done,
        }

    def run(self, server, *arguments):
        command = [f"{server.programs}/pgbench", *map(str, arguments), server.url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
