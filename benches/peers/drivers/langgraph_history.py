"""A long conversation as a LangGraph thread: 200 turns of 5 KiB, checkpointed in PostgreSQL.

`DATABASE_URL` names the server. Prints what is stored for it, and how long turns take.
"""

import asyncio
import json
import os
import time
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

TURNS, BYTES = 200, 5 * 1024
LETTERS = bytes(97 + byte % 26 for byte in range(256))


def text():
    """Letters that no other message has: what repeats would be compressed to nothing."""
    return os.urandom(BYTES).translate(LETTERS).decode()


class State(TypedDict):
    messages: Annotated[list, add_messages]


def build(saver):
    async def answer(_state):
        return {"messages": [AIMessage(text())]}

    graph = StateGraph(State)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver)


async def main():
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(os.environ["DATABASE_URL"], kwargs=options, open=False) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()

        async def size():
            async with pool.connection() as connection:
                await connection.execute("VACUUM")
                answer = await connection.execute("SELECT pg_database_size(current_database()) AS bytes")
                return (await answer.fetchone())["bytes"]

        empty = await size()
        graph, times = build(saver), []
        for turn in range(TURNS):
            began = time.perf_counter()
            asked = {"messages": [HumanMessage(f"turn {turn}")]}
            await graph.ainvoke(asked, {"configurable": {"thread_id": "one"}}, durability="sync")
            times.append((time.perf_counter() - began) * 1000)
        stored, content = await size() - empty, TURNS * BYTES
        first, last = sorted(times[:20])[10], sorted(times[-20:])[10]
        print(json.dumps({"stored": stored, "content": content, "ratio": round(stored / content, 2),
                          "firstMs": round(first, 1), "lastMs": round(last, 1)}))


asyncio.run(main())
