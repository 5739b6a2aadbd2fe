"""The measured work as LangGraph threads: a node is a step, checkpointed in PostgreSQL.

`DATABASE_URL` names the server. `durability="sync"` writes the checkpoint of a step before the
next one starts; the default writes it while that runs.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from typing import TypedDict

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

STEPS = 10
LETTERS = bytes(97 + byte % 26 for byte in range(256))


def payload():
    """300 letters that no other step returned: what repeats would be compressed to nothing."""
    return os.urandom(300).translate(LETTERS).decode()


class State(TypedDict):
    result: str


class Window:
    """The span of time in which steps count."""

    def __init__(self):
        self.total = self.counted = 0
        self.periods = []
        self.counting = self.over = False
        self.last = {}

    def step(self, task):
        now = time.perf_counter()
        self.total += 1
        if self.counting:
            self.counted += 1
            if task in self.last:
                self.periods.append(now - self.last[task])
        self.last[task] = now


def say(**line):
    print(json.dumps(line), flush=True)


def build(window, saver):
    async def node(_state, config):
        window["now"].step(config["configurable"]["thread_id"])
        return {"result": payload()}

    graph = StateGraph(State)
    names = [f"step-{at + 1}" for at in range(STEPS)]
    for name in names:
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END]):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=saver)


async def carry_out(graph, window, concurrency, warmup, seconds):
    async def client():
        while not window.over:
            thread = str(uuid.uuid4())
            await graph.ainvoke({"result": ""}, {"configurable": {"thread_id": thread}}, durability="sync")
            window.last.pop(thread, None)

    clients = [asyncio.create_task(client()) for _ in range(concurrency)]
    await asyncio.wait(clients, timeout=warmup)
    opened, window.counting = time.perf_counter(), True
    say(event="begin")
    await asyncio.wait(clients, timeout=seconds)
    window.counting, window.over = False, True
    periods = sorted(window.periods)
    p50 = periods[len(periods) // 2] * 1000 if periods else None
    say(event="end", steps=window.counted, seconds=time.perf_counter() - opened, p50=p50)
    await asyncio.gather(*clients)
    say(event="idle", steps=window.total)


async def main():
    # What the saver needs of its connections, as its documentation says.
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(
        os.environ["DATABASE_URL"], min_size=4, max_size=50, kwargs=options, open=False
    ) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        window = {}
        graph = build(window, saver)
        say(event="ready")
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            concurrency, warmup, seconds = line.split()
            window["now"] = Window()
            await carry_out(graph, window["now"], int(concurrency), float(warmup), float(seconds))


asyncio.run(main())
