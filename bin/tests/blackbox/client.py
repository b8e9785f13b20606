"""A client of the wire protocol: sockets, lines, JSON, and nothing of the server's own code."""

import json
import random
import socket
import string

# How long anything may take before the server counts as stuck. Nothing here measures speed.
PATIENCE = 120.0

PASSWORD = "correct horse battery"

ERRORS = {
    "bad_frame", "unknown_op", "bad_request", "frame_too_large", "too_large", "not_logged_in",
    "already_logged_in", "bad_credentials", "name_taken", "registration_closed", "bad_invite",
    "locked", "no_such_user", "no_such_group", "not_friends", "blocked", "not_member",
    "forbidden", "muted", "no_such_message", "key_conflict", "limit", "rate_limited", "busy",
    "unavailable", "shutting_down", "token_expired",
}


class Closed(Exception):
    """The server closed the connection."""


class Refused(Exception):
    """A request was answered with an error."""

    def __init__(self, error):
        super().__init__(error["code"] + ": " + error["message"])
        self.code = error["code"]


class Client:
    """One connection. Replies and events are kept apart, each in order."""

    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.pending = b""
        self.replies = []
        self.events = []
        self.last_id = 0
        self.user = None
        self.session = None

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send_line(self, text):
        self.send_bytes(text.encode() + b"\n")

    def ask(self, op, /, **fields):
        """Sends a request and returns its id without waiting. `in_` stands for `in`."""
        self.last_id += 1
        self.send_line(frame(self.last_id, op, **fields))
        return self.last_id

    def receive(self):
        """Reads one frame and files it."""
        while b"\n" not in self.pending:
            data = self.socket.recv(65536)
            if not data:
                assert not self.pending, f"half a frame: {self.pending!r}"
                raise Closed
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        assert len(line) <= 256 * 1024, "a server's frame has at most 256 KiB"
        value = json.loads(line.decode())
        assert isinstance(value, dict), value
        if "event" in value:
            assert "id" not in value, value
            self.events.append(value)
        else:
            assert ("ok" in value) != ("error" in value), value
            if "error" in value:
                assert value["error"]["code"] in ERRORS, value
                assert value["error"]["message"], value
            self.replies.append(value)

    def reply(self):
        """Returns the next reply."""
        while not self.replies:
            self.receive()
        return self.replies.pop(0)

    def result(self, request_id):
        """Returns the `ok` of the next reply, which must be to this request."""
        reply = self.reply()
        assert reply["id"] == request_id, (reply, request_id)
        if "error" in reply:
            raise Refused(reply["error"])
        return reply["ok"]

    def ok(self, op, /, **fields):
        return self.result(self.ask(op, **fields))

    def fails(self, code, op, /, **fields):
        try:
            done = self.ok(op, **fields)
        except Refused as refused:
            assert refused.code == code, f"{op} {str(fields)[:200]}: {refused} instead of {code}"
        else:
            raise AssertionError(f"{op} {str(fields)[:200]}: {done} instead of {code}")

    def event(self, event_name, /, **fields):
        """Takes the first event so named and with these fields out of the queue."""
        wanted = {key.rstrip("_"): value for key, value in fields.items()}
        looked = 0
        while True:
            for index in range(looked, len(self.events)):
                event = self.events[index]
                if event["event"] == event_name and all(event.get(k) == v for k, v in wanted.items()):
                    return self.events.pop(index)
            looked = len(self.events)
            self.receive()

    def message(self, **fields):
        return self.event("message", **fields)

    def waiting(self, name=None):
        """Returns the events that have arrived, after a round trip, and takes them out."""
        self.ok("ping")
        taken = [event for event in self.events if name in (None, event["event"])]
        self.events = [event for event in self.events if event not in taken]
        return taken

    def is_closed(self):
        """Waits for the end of the connection; frames on the way are filed."""
        try:
            while True:
                self.receive()
        except (Closed, ConnectionResetError):
            return True

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def frame(request_id, op, /, **fields):
    request = {"id": request_id, "op": op}
    request.update({key.rstrip("_"): value for key, value in fields.items()})
    return json.dumps(request, ensure_ascii=request_id % 2 == 0)


def fresh_name(prefix="u"):
    return prefix + "".join(random.choices(string.ascii_lowercase, k=12))


def fresh_key():
    return "".join(random.choices(string.ascii_letters + string.digits, k=20))


def login(port, name, password=PASSWORD, receive_buffer=None, **fields):
    """Opens a connection and begins a session on it."""
    client = Client(port, receive_buffer)
    session = client.ok("login", name=name, password=password, **fields)
    assert session["version"] == 1 and session["idle_ms"] > 0, session
    client.user, client.name, client.session = session["user"], session["name"], session
    return client


def user(port, name=None):
    """Registers a user and begins a session."""
    name = name or fresh_name()
    with Client(port) as client:
        registered = client.ok("register", name=name, password=PASSWORD)["user"]
    client = login(port, name)
    assert client.user == registered
    return client


def befriend(one, other):
    one.ok("friend_request", user=other.user)
    other.event("friend", user=one.user, state="requested_by")
    assert other.ok("friend_accept", user=one.user) == {"state": "friends"}
    other.event("friend", user=one.user, state="friends")
    one.event("friend", user=other.user, state="friends")


def friends(port):
    one, other = user(port), user(port)
    befriend(one, other)
    return one, other


def direct(client):
    return {"user": client.user}


def send(client, to, text, **fields):
    return client.ok("send", to=to, key=fields.pop("key", None) or fresh_key(), text=text, **fields)["seq"]
