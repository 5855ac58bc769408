"""Calls the tool `report` with the official Python SDK when told so, and prints what comes of it."""

import logging
import sys

import anyio
from mcp.client.client import Client


async def listen(message):
    if type(message).__name__ == "ResourceUpdatedNotification":
        print("listens", flush=True)


async def main(url, seconds):
    is_running = False

    async def progress(*_):
        nonlocal is_running
        if not is_running:
            print("runs", flush=True)
        is_running = True

    # Since 2026-07-28 there are no GET requests to listen by.
    async with Client(url, mode="legacy", message_handler=listen) as client:
        call = {"seconds": seconds}
        # Otherwise it asks for them after the call, to check the result: of a server that is gone.
        await client.list_tools()
        print("connected", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        try:
            result = await client.call_tool("report", call, 20, progress_callback=progress)
            print("result", result.content[0].text, flush=True)
        except Exception as error:
            print(f"error {type(error).__name__}: {error}", flush=True)


# What the SDK does not understand it warns of.
logging.basicConfig(stream=sys.stdout, format="warning %(message)s")
anyio.run(main, sys.argv[1], int(sys.argv[2]))
