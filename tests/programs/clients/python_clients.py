"""Reads one stream with each of several clients, and prints what they made of it as JSON."""

import json
import sys

import anthropic
import httpx
import httpx_sse
import openai


def read_httpx_sse(url):
    with httpx.Client() as client:
        with httpx_sse.connect_sse(client, "GET", url + "/httpx-sse") as source:
            return [event.data for event in source.iter_sse()]


def read_openai(url):
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    stream = client.chat.completions.create(model="none", messages=[], stream=True)
    return [chunk.id for chunk in stream]


def read_anthropic(url):
    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
    stream = client.messages.create(model="none", messages=[], max_tokens=1, stream=True)
    return [str(event.index) for event in stream]


def outcome(read, url):
    try:
        return read(url)
    except Exception as error:
        return type(error).__name__


CLIENTS = {"anthropic": read_anthropic, "httpx-sse": read_httpx_sse, "openai": read_openai}
print(json.dumps({name: outcome(read, sys.argv[1]) for name, read in CLIENTS.items()}))
