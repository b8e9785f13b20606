"""Bytes that no honest client sends. Other users notice nothing."""

import json
import os
import random

from client import Client, direct, frame, friends, login, send, user


def framing(port):
    """Frames split at any byte, many in a segment, and both line ends."""
    one, other = friends(port)
    text = "split \u00e9\U0001f600"
    line = frame(1, "send", to=direct(other), key="split", text=text).encode() + b"\r\n\n\r\n"
    for cut in range(1, len(line)):
        one.send_bytes(line[:cut])
        one.send_bytes(line[cut:])
        assert one.result(1)["seq"] == 1
    for byte in line:
        one.send_bytes(bytes([byte]))
    assert one.result(1)["seq"] == 1
    assert other.message()["text"] == text
    one.send_bytes("".join(frame(n, "ping") + "\n" for n in range(1, 1001)).encode())
    for n in range(1, 1001):
        assert one.result(n)["at"] > 0
    # A frame at the limit is read.
    line = frame(7, "ping", pad="").encode()
    line = line.replace(b'""', b'"' + b"x" * (65536 - len(line)) + b'"')
    assert len(line) == 65536
    one.send_bytes(line + b"\n")
    assert one.result(7)["at"] > 0


def garbage(port):
    """Whatever is sent is answered, and the connection goes on."""
    one, other = friends(port)
    seed = int.from_bytes(os.urandom(8), "big")
    print("seed", seed)
    rng = random.Random(seed)
    with Client(port) as client:
        for _ in range(300):
            line = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400)))
            line = line.replace(b"\n", b"").replace(b"\r", b"") or b"x"
            client.send_bytes(line + b"\n")
            reply = client.reply()
            assert reply["id"] is None and reply["error"]["code"] == "bad_frame", (line, reply)
        for line, code in (
            ("[" * 20_000, "bad_frame"), ('{"a":' * 10_000, "bad_frame"), ("{" * 20_000, "bad_frame"),
            ("null", "bad_frame"), ("[]", "bad_frame"), ('"x"', "bad_frame"), ("{}", "bad_request"),
            ('{"id":1}', "bad_request"), ('{"op":"ping"}', "bad_request"),
            ('{"id":-1,"op":"ping"}', "bad_request"), ('{"id":1.0,"op":"ping"}', "bad_request"),
            ('{"id":1e2,"op":"ping"}', "bad_request"), ('{"id":"1","op":"ping"}', "bad_request"),
            ('{"id":9007199254740992,"op":"ping"}', "bad_request"),
            ('{"id":1,"op":5}', "bad_request"), ('{"id":1,"op":"ping"', "bad_frame"),
            ('{"id":1,"op":"ping"} x', "bad_frame"), ('{"id":1,"id":1,"op":"ping"}', "bad_request"),
        ):
            client.send_line(line)
            reply = client.reply()
            assert reply["error"]["code"] == code, (line[:60], reply)
        # The id is told where it could be read.
        client.send_line('{"id":77,"op":"login","name":5,"password":"x"}')
        assert client.reply()["id"] == 77
        assert client.ok("ping")["at"] > 0
        assert client.ok("ping", nonsense={"a": [1, 2, {"b": "c"}]}, name=None)["at"] > 0
    for _ in range(20):
        # Random changes of a sound frame: any answer will do, but there is one to each.
        with Client(port) as client:
            sound = frame(1, "register", name="mutant", password="12345678").encode()
            for _ in range(20):
                line = bytearray(sound)
                for _ in range(rng.randrange(1, 5)):
                    line[rng.randrange(len(line))] = rng.choice(b'{}[]",:\\0129eE+-.nulltruefalse\xff\x00')
                client.send_bytes(bytes(line) + b"\n")
                client.reply()
    seq = send(one, direct(other), "untouched")
    assert other.message(seq=seq)["text"] == "untouched"


def too_large(port):
    """A line above the limit is answered and ends its connection, whether or not it ends."""
    one, other = friends(port)
    for data in (b"x" * 200_000, b'{"id":1,"op":"ping","pad":"' + b"x" * 200_000 + b'"}\n', b"x" * 65_537 + b"\n"):
        with Client(port) as client:
            try:
                client.send_bytes(data)
            except OSError:
                pass  # The server need not read what it refuses.
            assert client.reply()["error"]["code"] == "frame_too_large"
            assert client.is_closed()
    # In the middle of things too: what came before is answered first.
    with login(port, one.name) as client:
        client.send_bytes((frame(1, "ping") + "\n").encode() + b"y" * 70_000)
        assert client.result(1)["at"] > 0
        assert client.reply()["error"]["code"] == "frame_too_large"
        assert client.is_closed()
    seq = send(one, direct(other), "untouched")
    assert other.message(seq=seq)["text"] == "untouched"


def injection(port):
    """SQL, formats and controls in every text are texts."""
    nasty = ["'; DROP TABLE user; --", '" OR ""="', "x' UNION SELECT 1 --", "%s%s%n", "\\'; --", "`id`"]
    people = [user(port, name) for name in nasty]
    for name, person in zip(nasty, people):
        assert person.name == name
        found = people[0].ok("user", name=name)
        assert (found["user"], found["name"]) == (person.user, name)
        with Client(port) as client:
            client.fails("bad_credentials", "login", name=name, password="' OR '1'='1")
        group = person.ok("group_create", name=name, description=name, key=name)["group"]
        shown = people[0].ok("group", group=group)
        assert (shown["name"], shown["description"]) == (name, name)
        person.ok("send", to={"group": group}, key=name, text=name, meta={name: name})
        entry = person.ok("history", in_={"group": group})["messages"][-1]
        assert (entry["key"], entry["text"], entry["meta"]) == (name, name, {name: name})
    assert json.dumps(people[0].ok("groups"))
