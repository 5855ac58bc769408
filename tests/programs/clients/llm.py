"""Asks models by the official Python SDKs, all at once. Prints a line when all answers have begun, and
what came of each.

A question on stdin is {api, url, key, model, timeout, retries}, in milliseconds.
"""

import asyncio
import json
import sys
import time

import anthropic
import openai

MESSAGES = [{"role": "user", "content": "?"}]


async def chat(client, model):
    return await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)


async def responses(client, model):
    return await client.responses.create(model=model, input="?", stream=True)


async def messages(client, model):
    return await client.messages.create(model=model, messages=MESSAGES, max_tokens=1, stream=True)


APIS = {"chat": chat, "responses": responses, "messages": messages}

WORDS = {
    "chat": lambda event: event.choices[0].delta.content,
    "responses": lambda event: getattr(event, "delta", None),
    "messages": lambda event: getattr(getattr(event, "delta", None), "text", None),
}


def client(api, url, key, timeout, retries):
    # Its timeout is for each read, so it times the next byte, before the head and after it.
    options = {"api_key": key, "timeout": timeout / 1000, "max_retries": retries}
    if api == "messages":
        return anthropic.AsyncAnthropic(base_url=url, **options)
    return openai.AsyncOpenAI(base_url=url + "/v1", **options)


async def ask(question, begun):
    api, model = question["api"], question.pop("model")
    outcome = {"text": "", "types": [], "error": None}
    try:
        answer = await APIS[api](client(**question), model)
        begun.set()
        async for event in answer:
            outcome["types"].append(getattr(event, "type", None) or event.object)
            outcome["text"] += WORDS[api](event) or ""
    except Exception as error:
        outcome["error"] = type(error).__name__
        outcome["message"] = str(error)
    begun.set()
    outcome["ended"] = time.time() * 1000
    return outcome


async def main():
    questions = json.load(sys.stdin)
    begins = [asyncio.Event() for _ in questions]
    answers = asyncio.gather(*map(ask, questions, begins))
    for begun in begins:
        await begun.wait()
    print("all have begun", flush=True)
    print(json.dumps(await answers))


# What they load with the first question takes longer than the timeouts of the tests.
for load in (openai.AsyncOpenAI(api_key="none"), anthropic.AsyncAnthropic(api_key="none")):
    for resource in ("chat", "responses", "messages"):
        hasattr(load, resource)

asyncio.run(main())
