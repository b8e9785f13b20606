"""Groups: the three ways to join, roles, leaving, what strangers see."""

from client import befriend, direct, fresh_key, login, send, user


def groups(port):
    owner, admin, member, stranger = (user(port) for _ in range(4))
    group = owner.ok("group_create", name="Tea", description="'; --", key="g")["group"]
    assert owner.ok("group_create", name="Tea", description="'; --", key="g")["group"] == group
    owner.fails("key_conflict", "group_create", name="Coffee", key="g")
    owner.fails("bad_request", "group_create", name="")
    owner.fails("bad_request", "group_create", name="x", join="never")
    owner.fails("bad_request", "group_create", name="x", description="x" * 20_000)
    assert owner.ok("group_create", name="Tea")["group"] != group, "names need not be unique"
    to = {"group": group}
    first = owner.message(in_=to)
    assert (first["seq"], first["kind"], first["user"]) == (1, "joined", owner.user)
    owner.fails("no_such_group", "group", group=2**53 - 1)

    # Open.
    shown = member.ok("group", group=group)
    assert shown["members"] == 1 and "role" not in shown and "last" not in shown
    for op in ("group_members", "group_requests"):
        member.fails("not_member", op, group=group)
    member.fails("not_member", "send", to=to, key="k", text="x")
    member.fails("not_member", "history", in_=to)
    for client in (member, admin):
        assert client.ok("group_join", group=group) == {"state": "member"}
        assert client.message(in_=to)["kind"] == "joined", "one's own joining comes first"
        client.event("group", group=group, name="Tea", state="member")
        owner.message(in_=to, kind="joined", user=client.user)
    assert member.ok("group_join", group=group) == {"state": "member"}
    assert [entry["seq"] for entry in admin.ok("history", in_=to)["messages"]] == [3]
    seq = send(member, to, "hello all")
    for client in (owner, admin, member):
        assert client.message(in_=to, seq=seq)["text"] == "hello all"
    member.ok("ack", in_=to, read=seq)
    owner.ok("typing", to=to)
    member.event("typing", in_=to, user=owner.user)
    members = owner.ok("group_members", group=group)
    assert [(item["user"], item["role"]) for item in members["members"]] == [
        (owner.user, "owner"), (admin.user, "member"), (member.user, "member"),
    ]
    assert all(item["online"] for item in members["members"])

    # Roles.
    member.fails("forbidden", "group_role", group=group, user=admin.user, role="admin")
    assert owner.ok("group_role", group=group, user=admin.user, role="admin") == {}
    entry = member.message(in_=to, kind="role")
    assert (entry["user"], entry["role"]) == (admin.user, "admin")
    admin.fails("forbidden", "group_role", group=group, user=member.user, role="admin")
    admin.fails("forbidden", "group_remove", group=group, user=owner.user)
    assert admin.ok("group_role", group=group, user=member.user, role="muted") == {}
    member.fails("muted", "send", to=to, key="m", text="x")
    admin.ok("group_role", group=group, user=member.user, role="member")
    seq = send(member, to, "again")
    assert admin.ok("recall", in_=to, seq=seq)["seq"] == seq + 1, "managers recall anyone's"
    owner.fails("not_member", "group_role", group=group, user=stranger.user, role="muted")

    # By approval.
    member.fails("forbidden", "group_update", group=group, name="Mine")
    admin.ok("group_update", group=group, name="Green tea", description="", join="approval")
    entry = member.message(in_=to, kind="updated")
    assert (entry["name"], entry["description"], entry["join"]) == ("Green tea", "", "approval")
    assert stranger.ok("group_join", group=group) == {"state": "requested"}
    for client in (owner, admin):
        client.event("group", group=group, state="requested", user=stranger.user)
    member.fails("forbidden", "group_approve", group=group, user=stranger.user)
    assert owner.ok("group_requests", group=group)["requests"] == [
        {"user": stranger.user, "name": stranger.name},
    ]
    owner.ok("group_reject", group=group, user=stranger.user)
    stranger.event("group", group=group, state="none")
    owner.fails("forbidden", "group_approve", group=group, user=stranger.user)
    stranger.ok("group_join", group=group)
    admin.ok("group_approve", group=group, user=stranger.user)
    stranger.event("group", group=group, state="member")
    stranger.message(in_=to, kind="joined", user=stranger.user)

    # Removed: the last entry is one's own removal.
    assert owner.ok("group_remove", group=group, user=stranger.user) == {}
    removed = stranger.message(in_=to, kind="removed")
    stranger.event("group", group=group, state="removed")
    stranger.fails("not_member", "send", to=to, key="r", text="x")
    between = send(owner, to, "behind your back")
    assert stranger.waiting("message") == []
    assert removed["user"] == stranger.user

    # By invitation.
    owner.ok("group_update", group=group, join="invite")
    stranger.fails("not_member", "group", group=group)
    stranger.fails("forbidden", "group_join", group=group)
    member.fails("forbidden", "group_invite", group=group, user=stranger.user)
    admin.ok("group_invite", group=group, user=stranger.user)
    stranger.event("group", group=group, state="invited")
    stranger.close()
    stranger = login(port, stranger.name)
    assert stranger.session["invites"] == [{"group": group, "name": "Green tea", "by": admin.user}]
    assert stranger.ok("group_leave", group=group) == {}, "declines"
    stranger.event("group", group=group, state="none")
    admin.ok("group_invite", group=group, user=stranger.user)
    assert stranger.ok("group_join", group=group) == {"state": "member"}
    joined = stranger.message(in_=to, kind="joined", user=stranger.user)
    seen = [entry["seq"] for entry in stranger.ok("history", in_=to)["messages"]]
    assert seen == [joined["seq"]] and between < joined["seq"], "what came between is hidden"

    # Leaving and the end.
    owner.fails("forbidden", "group_leave", group=group)
    owner.fails("forbidden", "delete_account", password="correct horse battery")
    assert stranger.ok("group_leave", group=group) == {}
    assert stranger.message(in_=to, kind="left")["user"] == stranger.user
    assert stranger.ok("group_leave", group=group) == {}
    owner.ok("group_role", group=group, user=admin.user, role="owner")
    assert owner.ok("group", group=group)["role"] == "admin"
    owner.fails("forbidden", "group_disband", group=group)
    assert member.ok("groups")["groups"] == [
        {"group": group, "name": "Green tea", "role": "member"},
    ]
    befriend(member, owner)
    listed = member.ok("conversations")["conversations"]
    assert [item["in"] for item in listed] == [direct(owner), to], "direct ones come first"
    page = member.ok("conversations", limit=1, after=direct(owner))
    assert page["conversations"][0]["in"] == to and page["more"] is False
    assert admin.ok("group_disband", group=group) == {}
    for client in (owner, admin, member):
        client.message(in_=to, kind="disbanded")
        client.event("group", group=group, state="disbanded")
    member.fails("no_such_group", "send", to=to, key=fresh_key(), text="x")
    member.fails("no_such_group", "group_join", group=group)
    assert member.ok("groups")["groups"] == []
