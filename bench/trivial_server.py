"""Reference server: grpc.aio with one handler that returns an empty message. Prints its address and serves."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty

METHOD = "/bench.Trivial/Call"


async def answer(request: Empty, context: grpc.aio.ServicerContext[Empty, Empty]) -> Empty:
    return Empty()


async def main() -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=Empty.FromString,
        response_serializer=Empty.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Trivial", {"Call": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
