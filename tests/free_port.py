"""Find a port for a server that takes its port as an argument."""

import secrets
import socket
from contextlib import suppress


def find_free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens.

    The system gives higher ports to clients and to servers that ask for any port, so none of them takes it before the server starts.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as attempt, suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port
