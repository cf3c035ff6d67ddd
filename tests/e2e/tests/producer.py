"""Publishes to JetStream by the protocol of NATS alone, with nothing but Python's standard library.

Usage: producer.py HOST PORT SUBJECT COUNT

Gives each message an id of its own, waits until the stream has it, and prints the ids, one a line.
"""

import json
import socket
import sys


def main():
    host, port, subject, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    connection = socket.create_connection((host, port), timeout=30)
    lines = connection.makefile("rb")
    assert lines.readline().startswith(b"INFO "), "a server that greets"
    connection.sendall(
        b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\nSUB _INBOX.producer 1\r\n'
    )
    for number in range(count):
        name = "python-%d" % number
        headers = ("NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n" % name).encode()
        payload = json.dumps({"number": number}).encode()
        sizes = "%d %d" % (len(headers), len(headers) + len(payload))
        command = "HPUB %s _INBOX.producer %s\r\n" % (subject, sizes)
        connection.sendall(command.encode() + headers + payload + b"\r\n")
        answer = read(connection, lines)
        assert answer.get("seq") == number + 1, answer
        print(name)


def read(connection, lines):
    """What the stream says about one message."""
    while True:
        line = lines.readline()
        assert line, "a server that stays"
        if line.startswith(b"PING"):
            connection.sendall(b"PONG\r\n")
        elif line.startswith(b"MSG "):
            size = int(line.split()[-1])
            return json.loads(lines.read(size + 2)[:size])
        else:
            raise AssertionError(line)


main()
