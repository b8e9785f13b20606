"""Accounts, sessions, friends, presence."""

from client import (
    PASSWORD, Client, befriend, direct, fresh_name, friends, login, send, user,
)


def accounts(port):
    name = fresh_name("Ärger ")
    client = Client(port)
    for op in ("logout", "friends", "groups", "conversations"):
        client.fails("not_logged_in", op)
    number = client.ok("register", name=name, password=PASSWORD)["user"]
    client.fails("name_taken", "register", name=name.upper(), password=PASSWORD)
    for bad in ("", "x" * 33, " x", "x ", "a\nb", "\u0000"):
        client.fails("bad_request", "register", name=bad, password=PASSWORD)
    for bad in ("x" * 7, "x" * 257, None, 12345678):
        client.fails("bad_request", "register", name=fresh_name(), password=bad)
    client.ok("register", name="\U0001f600" * 32, password="x" * 256)
    client.fails("bad_credentials", "login", name=fresh_name(), password=PASSWORD)
    client.fails("bad_credentials", "login", name=name, password=PASSWORD + "!")
    client.fails("bad_request", "login", name=name, user=number, password=PASSWORD)
    client.fails("token_expired", "resume", token="nonsense")
    session = client.ok("login", user=number, password=PASSWORD, device="a laptop")
    assert (session["user"], session["name"], session["version"]) == (number, name, 1)
    assert list(session)[:6] == ["version", "user", "name", "session", "token", "idle_ms"], session
    client.fails("already_logged_in", "login", name=name, password=PASSWORD)
    assert client.ok("user", name=name.lower()) == {
        "user": number, "name": name, "state": "none", "online": True,
    }
    client.fails("no_such_user", "user", name=fresh_name())
    client.fails("no_such_user", "user", user=2**53 - 1)
    client.fails("bad_request", "user", user=2**53)
    client.fails("unknown_op", "dance")
    assert client.ok("ping")["at"] > 1_600_000_000_000

    # A resumed session replaces its older connection.
    other = Client(port)
    resumed = other.ok("resume", token=session["token"])
    assert (resumed["user"], resumed["session"]) == (number, session["session"])
    client.event("notice", code="replaced")
    assert client.is_closed()

    # A new password ends every other session and every older token.
    third = login(port, name)
    third.fails("bad_credentials", "password", old="wrong password", new="another password")
    token = third.ok("password", old=PASSWORD, new="another password")["token"]
    other.event("notice", code="ended")
    assert other.is_closed()
    with Client(port) as client:
        client.fails("token_expired", "resume", token=session["token"])
        client.fails("token_expired", "resume", token=third.session["token"])
        client.fails("bad_credentials", "login", name=name, password=PASSWORD)
        assert client.ok("resume", token=token)["user"] == number
        third.event("notice", code="replaced")
        assert client.ok("logout") == {}
        client.fails("not_logged_in", "friends")
        client.fails("token_expired", "resume", token=token)
        # The connection stays, for someone else too.
        client.ok("login", name=name, password="another password")
        client.fails("bad_credentials", "delete_account", password=PASSWORD)
        assert client.ok("delete_account", password="another password") == {}
    with Client(port) as client:
        client.fails("bad_credentials", "login", name=name, password="another password")
        assert client.ok("register", name=name, password=PASSWORD)["user"] > number


def friendships(port):
    one, other, third = user(port), user(port), user(port)
    one.fails("bad_request", "friend_request", user=one.user)
    one.fails("no_such_user", "friend_request", user=2**53 - 1)
    one.fails("not_friends", "friend_accept", user=other.user)
    assert one.ok("friend_request", name=other.name.upper()) == {
        "user": other.user, "state": "requested",
    }
    assert one.ok("friend_request", user=other.user)["state"] == "requested"
    assert one.ok("user", user=other.user) == {
        "user": other.user, "name": other.name, "state": "requested",
    }
    other.event("friend", user=one.user, name=one.name, state="requested_by")
    # Who was away finds the request at the next login.
    other.close()
    other = login(port, other.name)
    assert other.session["requests"] == [{"user": one.user, "name": one.name}]
    assert other.ok("friend_reject", user=one.user) == {"state": "none"}
    one.event("friend", user=other.user, state="none")
    one.ok("friend_request", user=other.user)
    # Both ask: friends.
    assert other.ok("friend_request", user=one.user)["state"] == "friends"
    one.event("friend", user=other.user, state="friends")
    befriend(third, one)
    listed = one.ok("friends")
    assert [item["user"] for item in listed["friends"]] == [other.user, third.user]
    assert all(item["online"] and item["state"] == "friends" for item in listed["friends"])
    page = one.ok("friends", limit=1)
    assert page["more"] is True and len(page["friends"]) == 1
    page = one.ok("friends", limit=1, after=other.user)
    assert page["more"] is False and page["friends"][0]["user"] == third.user
    for bad in (0, 201, -1, 1.5, "1"):
        one.fails("bad_request", "friends", limit=bad)

    # Presence: a friend goes and comes.
    third.close()
    one.event("presence", user=third.user, online=False)
    third = login(port, third.name)
    assert third.session["friends"] == [{"user": one.user, "name": one.name, "online": True}]
    one.event("presence", user=third.user, online=True)

    # Unfriend and block.
    send(one, direct(third), "before")
    assert third.ok("friend_remove", user=one.user) == {"state": "none"}
    one.event("friend", user=third.user, state="none")
    one.fails("not_friends", "send", to=direct(third), key="after", text="after")
    # What was written stays readable.
    assert one.ok("history", in_=direct(third))["messages"][0]["text"] == "before"
    assert other.ok("block", user=one.user) == {"state": "blocked"}
    one.event("friend", user=other.user, state="none")
    one.fails("blocked", "send", to=direct(other), key="k", text="hello?")
    other.fails("blocked", "send", to=direct(one), key="k", text="hello?")
    one.fails("blocked", "friend_request", user=other.user)
    assert "online" not in one.ok("user", user=other.user)
    assert other.ok("unblock", user=one.user) == {"state": "none"}
    one.fails("not_friends", "send", to=direct(other), key="k", text="hello?")
    one.fails("not_friends", "send", to=direct(one), key="k", text="myself")


def sessions(port):
    """Own sends reach every session; the ninth session replaces the oldest."""
    one, other = friends(port)
    second = login(port, one.name)
    seq = send(one, direct(other), "from the first", key="s-1")
    for client in (one, second):
        message = client.message(in_=direct(other), seq=seq)
        assert (message["from"], message["key"]) == (one.user, "s-1")
    other.message(in_=direct(one), seq=seq)
    other.ok("ack", in_=direct(one), read=seq)
    for client in (one, second):
        client.event("receipt", in_=direct(other), user=other.user, delivered=seq, read=seq)
    one.ok("ack", in_=direct(other), delivered=seq)
    second.event("receipt", in_=direct(other), user=one.user, delivered=seq)
    more = [login(port, one.name) for _ in range(6)]
    assert one.ok("ping")
    ninth = login(port, one.name)
    one.event("notice", code="replaced")
    assert one.is_closed()
    with Client(port) as client:
        client.fails("token_expired", "resume", token=one.session["token"])
    seq = send(ninth, direct(other), "still here")
    for client in [second, ninth, *more]:
        client.message(in_=direct(other), seq=seq)
