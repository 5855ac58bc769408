"""Reads an event stream with one client, up to the event whose data has a text in it, or to its close
event. Prints what the client gave, as JSON.

None of these comes back by itself: that is done here, with the last id.
"""

import json
import sys

import httpx
import httpx_sse
import sseclient


def read_httpx_sse(client, url, headers):
    with httpx_sse.connect_sse(client, "GET", url, headers=headers) as source:
        yield from source.iter_sse()


def read_sseclient(client, url, headers):
    with client.stream("GET", url, headers=headers) as response:
        yield from sseclient.SSEClient(response.iter_bytes()).events()


CLIENTS = {"httpx-sse": read_httpx_sse, "sseclient-py": read_sseclient}


def read_all(read, url, until):
    seen, headers = [], {}
    with httpx.Client(timeout=None) as client:
        while True:
            try:
                for event in read(client, url, headers):
                    seen.append([event.event, event.data, event.id])
                    headers = {"Last-Event-ID": event.id}
                    if event.event == "close" or (until and until in event.data):
                        return seen
            except httpx.TransportError:
                # The connection has broken off.
                continue


name, url, until = sys.argv[1:4]
print(json.dumps(read_all(CLIENTS[name], url, until)))
