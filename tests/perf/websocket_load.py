"""A load of WebSocket connections, and what it measures: exchanges a second, 99th percentile.

    python -m tests.perf.websocket_load PORT SECONDS TARGET CONNECTIONS

After the switch the bytes are the other protocol's. Here that is one which the upstream of the
comparison understands: a request line and an empty line, answered as if it were HTTP.
"""

import selectors
import socket
import sys
import time
from typing import Final

WISH: Final = (
    b"GET /ws HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_BUFFER: Final = 256 * 1024


def switched(port: int) -> socket.socket:
    """A connection that speaks the other protocol."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(WISH)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = client.recv(4096)
        if not piece:
            raise SystemExit(f"no switch: {head!r}")
        head += piece
    if not head.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"no switch: {head!r}")
    return client


def answer_size(client: socket.socket, request: bytes) -> int:
    """How many bytes one answer has, head and body."""
    client.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(4096)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    left = length - len(body)
    while left:
        left -= len(client.recv(min(left, _BUFFER)))
    return len(head) + 4 + length


def run(port: int, seconds: float, target: str, connections: int) -> tuple[float, float]:
    """Exchanges a second, and milliseconds of the 99th percentile."""
    request = f"GET {target} \r\n\r\n".encode()
    clients = [switched(port) for _ in range(connections)]
    size = answer_size(clients[0], request)
    buffer = bytearray(_BUFFER)
    left = dict.fromkeys(clients, size)
    began: dict[socket.socket, float] = {}
    times: list[float] = []
    with selectors.DefaultSelector() as selector:
        start = time.perf_counter()
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
            began[client] = time.perf_counter()
            client.sendall(request)
        now = start
        while now < start + seconds:
            for key, _ in selector.select(1.0):
                client = key.fileobj  # type: ignore[assignment]
                got = client.recv_into(buffer)
                if not got:
                    raise SystemExit("a connection was closed")
                left[client] -= got
                if left[client] <= 0:
                    now = time.perf_counter()
                    times.append(now - began[client])
                    left[client], began[client] = size, now
                    client.sendall(request)
            now = time.perf_counter()
        elapsed = now - start
    for client in clients:
        client.close()
    return len(times) / elapsed, sorted(times)[int(len(times) * 0.99)] * 1000


if __name__ == "__main__":
    rate, p99 = run(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    print(rate, p99)
