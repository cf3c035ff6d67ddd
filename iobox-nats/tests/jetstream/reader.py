"""Reads a stream by the protocol of NATS alone, with nothing but Python's standard library.

Usage: reader.py HOST PORT STREAM COUNT

Prints one line of JSON for each message: its subject, its headers as they stand on the wire, in
order, and its payload.
"""

import json
import socket
import sys
import urllib.parse


def main():
    host, port, stream, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    connection = socket.create_connection((host, port), timeout=30)
    lines = connection.makefile("rb")
    assert lines.readline().startswith(b"INFO "), "a server that greets"

    consumer = json.dumps({
        "stream_name": stream,
        "config": {
            "deliver_subject": "_INBOX.reader.messages",
            "deliver_policy": "all",
            "ack_policy": "none",
            "replay_policy": "instant",
        },
    })
    commands = [
        'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}',
        "SUB _INBOX.reader.answer 1",
        # Not by a wildcard: older servers start sending when this very subject is subscribed to.
        "SUB _INBOX.reader.messages 2",
        "PUB $JS.API.CONSUMER.CREATE.%s _INBOX.reader.answer %d" % (stream, len(consumer)),
        consumer,
    ]
    connection.sendall("".join(command + "\r\n" for command in commands).encode())

    while count > 0:
        line = lines.readline().decode().rstrip("\r\n")
        if line == "PING":
            connection.sendall(b"PONG\r\n")
        elif line.startswith("MSG "):
            answer = json.loads(lines.read(int(line.split()[-1]) + 2))
            assert "error" not in answer, answer
        elif line.startswith("HMSG "):
            # HMSG <subject> <sid> [reply] <bytes of headers> <bytes of all>
            words = line.split()
            head, whole = int(words[-2]), int(words[-1])
            body = lines.read(whole + 2)
            print(json.dumps(message(words[1], body[:head], body[head:whole])))
            count -= 1
        else:
            sys.exit("the server says " + repr(line))


def message(subject, head, payload):
    version, *rest = head.decode().split("\r\n")
    assert version == "NATS/1.0", version
    headers = [line.split(":", 1) for line in rest if line]
    headers = {name: value.strip() for name, value in headers}
    # What docs/wire.md says about reading them.
    origin, encoded_id = headers["iobox-id"].split("/", 1)
    for name in filter(None, headers.get("iobox-encoded", "").split(",")):
        headers[name] = urllib.parse.unquote(headers[name])
    key = headers.get("iobox-key")
    return {
        "subject": subject,
        "origin": origin,
        "id": urllib.parse.unquote(encoded_id),
        "key": None if key is None else urllib.parse.unquote(key),
        "headers": headers,
        "payload": payload.decode(),
    }


main()
