"""Sending, editing, recalling, acknowledging, history, replay."""

from client import Client, Closed, direct, frame, fresh_key, friends, login, send, user


def messages(port):
    one, other = friends(port)
    to, back = direct(other), direct(one)

    # One key, one message.
    first = one.ok("send", to=to, key="k 1", text="hi", meta={"a": [1, {"b": None}]})
    assert first["seq"] == 1
    assert one.ok("send", to=to, key="k 1", text="hi") == first
    one.fails("key_conflict", "send", to=to, key="k 1", text="hi!")
    one.fails("key_conflict", "send", to=to, key="k 1", text="hi", reply_to=1)
    assert send(one, to, "case", key="K 1") == 2, "keys are compared byte by byte"
    assert send(one, to, "space", key="k 1 ") == 3, "trailing space counts"
    message = other.message(seq=1)
    assert message == {
        "event": "message", "in": back, "seq": 1, "from": one.user, "at": first["at"],
        "kind": "text", "key": "k 1", "text": "hi", "meta": {"a": [1, {"b": None}]},
    }, message

    # Texts and keys at their limits, and whatever may be in them.
    texts = [
        "x" * 16384, "\U0001f600" * 4096, "\u0000\u0001\u007f", "'; DROP TABLE message; --",
        '" OR 1=1 --', "\\", "%s %n ${x} {{y}}", "\u202e\ufeff", "e\u0301", "\r\n", "\ud7ff\ue000",
    ]
    seqs = [send(one, to, text, key="'; DELETE FROM user --" + str(n)) for n, text in enumerate(texts)]
    assert seqs == list(range(4, 4 + len(texts)))
    for seq, text in zip(seqs, texts):
        assert other.message(seq=seq)["text"] == text
    one.fails("too_large", "send", to=to, key="k", text="x" * 16385)
    one.fails("too_large", "send", to=to, key="k", text="\U0001f600" * 4097)
    one.fails("too_large", "send", to=to, key="k", text="x", meta={"a": "x" * 4096})
    for key in ("", "x" * 65, None, 5):
        one.fails("bad_request", "send", to=to, key=key, text="x")
    for bad in (
        {"text": ""}, {"text": None}, {"meta": []}, {"meta": "x"}, {"reply_to": -1},
        {"to": {}}, {"to": {"user": 1, "group": 1}}, {"to": 5}, {"to": {"user": "1"}},
    ):
        one.fails("bad_request", "send", **{"to": to, "key": fresh_key(), "text": "x", **bad})
    one.fails("no_such_message", "send", to=to, key="r", text="x", reply_to=10_000)
    last = send(one, to, "an answer", reply_to=2)
    assert other.message(seq=last)["reply_to"] == 2

    # Edit and recall.
    done = one.ok("edit", in_=to, seq=2, text="edited")
    edit = other.message(seq=done["seq"])
    assert (edit["kind"], edit["target"], edit["text"]) == ("edit", 2, "edited")
    assert one.ok("edit", in_=to, seq=2, text="edited")["seq"] == done["seq"], "it says so already"
    other.fails("forbidden", "edit", in_=back, seq=2, text="mine")
    other.fails("forbidden", "recall", in_=back, seq=2)
    one.fails("no_such_message", "edit", in_=to, seq=done["seq"], text="an edit is no message")
    one.fails("no_such_message", "recall", in_=to, seq=10_000)
    done = one.ok("recall", in_=to, seq=3)
    recall = other.message(seq=done["seq"])
    assert (recall["kind"], recall["target"]) == ("recall", 3) and "text" not in recall
    assert one.ok("recall", in_=to, seq=3)["seq"] == done["seq"]
    one.fails("no_such_message", "edit", in_=to, seq=3, text="again")

    # History, both ways, whole.
    total = done["seq"]
    forward, after = [], 0
    while True:
        page = other.ok("history", in_=back, after=after, limit=4)
        forward += page["messages"]
        after = forward[-1]["seq"]
        if not page["more"]:
            break
    assert [entry["seq"] for entry in forward] == list(range(1, total + 1))
    assert forward[1]["text"] == "edited" and forward[1]["edited"] is True
    assert forward[2]["text"] == "" and forward[2]["recalled"] is True and "meta" not in forward[2]
    backward, before = [], None
    while True:
        page = other.ok("history", in_=back, before=before, limit=5)
        backward = page["messages"] + backward
        before = backward[0]["seq"]
        if not page["more"]:
            break
    assert backward == forward
    other.fails("bad_request", "history", in_=back, after=1, before=5)
    other.fails("no_such_user", "history", in_={"user": 2**53 - 1})

    one.ok("typing", to=to)
    assert other.event("typing")["user"] == one.user
    stranger = user(port)
    stranger.fails("not_friends", "typing", to=to)
    stranger.fails("not_friends", "ack", in_=to, read=1)
    stranger.fails("not_friends", "history", in_=to)


def pipelined(port):
    """Sends that do not wait for each other keep their order, and so do their replies."""
    one, other = friends(port)
    count = 500
    lines = [
        frame(n, "send", to=direct(other), key=f"p-{n}", text=f"number {n}") for n in range(1, count + 1)
    ]
    one.send_bytes("".join(line + "\n" for line in lines).encode())
    for n in range(1, count + 1):
        assert one.result(n)["seq"] == n
    for n in range(1, count + 1):
        message = other.message()
        assert (message["seq"], message["text"]) == (n, f"number {n}")

    # What was asked before the client's end is answered, then the connection closes.
    lines = [frame(n, "send", to=direct(other), key=f"h-{n}", text="bye") for n in range(1, 21)]
    one.send_bytes("".join(line + "\n" for line in lines).encode())
    one.half_close()
    for n in range(1, 21):
        assert one.result(n)["seq"] == count + n
    assert one.is_closed()
    for n in range(1, 21):
        assert other.message()["seq"] == count + n


def offline(port):
    """Entries wait for who is away, in order, once; acknowledged ones do not come again."""
    one, other = friends(port)
    other.close()
    one.event("presence", user=other.user, online=False)
    for n in range(300):
        assert send(one, direct(other), f"number {n}") == n + 1
    other = login(port, other.name)
    state = other.session["conversations"][0]
    assert (state["in"], state["last"], state["delivered"]) == (direct(one), 300, 0), state
    for n in range(300):
        message = other.message()
        assert (message["seq"], message["text"]) == (n + 1, f"number {n}")
    other.ok("ack", in_=direct(one), delivered=200)
    one.event("receipt", user=other.user, delivered=200)
    other.close()

    other = login(port, other.name)
    assert [other.message()["seq"] for _ in range(100)] == list(range(201, 301))
    assert other.waiting("message") == []
    other.close()
    # What the client has, it does not get; without replay, only what comes from then on.
    other = login(port, other.name, have=[{"in": direct(one), "seq": 290}])
    assert [other.message()["seq"] for _ in range(10)] == list(range(291, 301))
    assert other.waiting("message") == []
    silent = login(port, other.name, replay=False)
    assert silent.waiting("message") == []
    send(one, direct(other), "and on")
    assert silent.message()["seq"] == 301
    assert other.message()["seq"] == 301


def slow_reader(port):
    """Ten thousand messages to someone who does not read hold nobody up, and arrive whole."""
    one, other = friends(port)
    left, right = friends(port)
    slow = login(port, other.name, receive_buffer=4096)
    other.close()
    count, batch = 10_000, 100
    text = "x" * 1000
    for start in range(0, count, batch):
        lines = [
            frame(n, "send", to=direct(other), key=f"b-{n}", text=f"{n:024}{text}")
            for n in range(start, start + batch)
        ]
        one.send_bytes("".join(line + "\n" for line in lines).encode())
        for n in range(start, start + batch):
            assert one.result(n)["seq"] == n + 1
        one.events.clear()
        # Meanwhile two others chat.
        seq = send(left, direct(right), f"round {start}")
        right.message(seq=seq)
    for n in range(count):
        message = slow.message()
        assert message["seq"] == n + 1 and message["text"].startswith(f"{n:024}"), n


def before_crash(port, names):
    """Sends until the server dies; returns what was acknowledged."""
    one, other = user(port, names[0]), user(port, names[1])
    one.ok("friend_request", user=other.user)
    other.ok("friend_accept", user=one.user)
    acknowledged = []
    try:
        while True:
            key = f"c-{len(acknowledged)}"
            seq = one.ok("send", to=direct(other), key=key, text="text of " + key)["seq"]
            acknowledged.append((seq, key))
            if len(acknowledged) == 100:
                print("ready", flush=True)
    except (Closed, OSError):
        pass
    print(len(acknowledged), flush=True)


def after_crash(port, names, count):
    """Everything that was acknowledged before the crash is there, and the next number follows."""
    other = login(port, names[1])
    for n in range(count):
        message = other.message()
        assert (message["seq"], message["key"]) == (n + 1, f"c-{n}"), message
        assert message["text"] == f"text of c-{n}"
    one = login(port, names[0])
    # The one that was under way may have been stored: its key tells.
    seq = one.ok("send", to=direct(other), key=f"c-{count}", text=f"text of c-{count}")["seq"]
    assert seq == count + 1
    assert other.message()["seq"] == seq
    with Client(port) as client:
        assert client.ok("resume", token=one.session["token"])["user"] == one.user
