"""Reads streams of the example `grpc` with grpcio until they end, and prints what came of them."""

import json
import struct
import sys
import threading

import grpc

NUMBER = struct.Struct("<BQ")
STREAMS = 10


def decode(message):
    tag, number = NUMBER.unpack(message)
    assert tag == 9
    return number


def read(count, begun):
    numbers = []
    try:
        for number in count(0):
            numbers.append(number)
            begun.release()
    except grpc.RpcError as error:
        return {"numbers": numbers, "code": error.code().name, "details": error.details()}
    return {"numbers": numbers}


with grpc.insecure_channel(sys.argv[1]) as channel:
    count = channel.unary_stream(
        "/example.Counter/Count",
        request_serializer=lambda number: NUMBER.pack(9, number),
        response_deserializer=decode,
    )
    begun, seen = threading.Semaphore(0), []
    threads = [
        threading.Thread(target=lambda: seen.append(read(count, begun))) for _ in range(STREAMS)
    ]
    for thread in threads:
        thread.start()
    for _ in range(2 * STREAMS):
        begun.acquire()
    print("reads", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps(seen), flush=True)
