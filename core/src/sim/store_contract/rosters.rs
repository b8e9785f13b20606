//! Rosters and heads.

use crate::id::{ConversationId, ConversationRef, GroupId, Place, Seq, UserId};
use crate::log::{FriendState, JoinPolicy, Role};
use crate::protocol::reply::{FriendItem, GroupItem, InviteItem};
use crate::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction};
use crate::store::{ConversationState, Head, Mark, Read, ReadDone, Roster};

use super::Subject;
use super::world::{World, ask, manage, name, own};

fn item(user: UserId, number: u8, state: FriendState) -> FriendItem {
    FriendItem {
        user,
        name: name(&format!("user {number}")),
        state,
        online: None,
    }
}

fn group(group: GroupId, role: Role) -> GroupItem {
    GroupItem {
        group,
        name: name("a group"),
        role,
    }
}

/// A group whose last entry is that of joining.
fn of_group(id: GroupId, last: u64) -> ConversationState {
    ConversationState {
        id: id.conversation(),
        conversation: ConversationRef::Group(id),
        last: Seq(last),
        joined: Seq(last),
        delivered: Seq(last - 1),
        read: Seq(last - 1),
        peer: None,
    }
}

/// A direct conversation with someone who has read nothing.
fn of_user(
    id: ConversationId,
    user: UserId,
    (last, delivered, read): (u64, u64, u64),
) -> ConversationState {
    ConversationState {
        id,
        conversation: ConversationRef::User(user),
        last: Seq(last),
        joined: Seq(1),
        delivered: Seq(delivered),
        read: Seq(read),
        peer: Some((Seq(0), Seq(0))),
    }
}

pub(super) fn a_roster_has_everything_of_a_user(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [me, asked, asks, friend, former, blocked, owner] = world.users();
    let login = world.login(me);
    let open = world.group(me, JoinPolicy::Open);
    let place = world.befriend(me, friend);
    let past = world.befriend(former, me);
    world.send(former, past, "k", "hi");
    world.friend(former, FriendAction::Remove, me, FriendState::None);
    world.command(ask(me, asked));
    world.command(ask(asks, me));
    world.friend(me, FriendAction::Block, blocked, FriendState::Blocked);
    let waiting = world.group(owner, JoinPolicy::Approval);
    world.command(own(me, GroupSelfAction::Join, waiting));
    let invited = world.group(owner, JoinPolicy::Invite);
    world.command(manage(owner, GroupOtherAction::Invite, invited, me));
    let joined = world.group_of(&[owner, me]);
    world.send(friend, place, "k", "one");
    world.send(friend, place, "l", "two");
    let id = world.conversation(friend, place);
    let past_id = world.conversation(former, past);
    world.mark(vec![Mark {
        conversation: id,
        user: me,
        delivered: Seq(2),
        read: Seq(1),
    }]);

    let roster = world.roster(me);
    let expected = Roster {
        user: me,
        name: name("user 0"),
        // A group, two friends in two steps each, one of them removed, one who is asked, one who
        // asks, one blocked; a group that is waited for, one that invites, one that was joined.
        version: login.roster.version + 12,
        friends: vec![
            item(asked, 1, FriendState::Requested),
            item(asks, 2, FriendState::RequestedBy),
            item(friend, 3, FriendState::Friends),
            item(blocked, 5, FriendState::Blocked),
        ],
        groups: vec![group(open, Role::Owner), group(joined, Role::Member)],
        invites: vec![InviteItem {
            group: invited,
            name: name("a group"),
            by: owner,
        }],
        waiting: vec![(waiting, name("a group"))],
        conversations: vec![
            of_user(id, friend, (2, 2, 1)),
            of_user(past_id, former, (1, 0, 0)),
            of_group(open, 1),
            of_group(joined, 2),
        ],
        sessions: vec![login.session],
    };
    assert_eq!(*roster, expected);
    let resumed = world.resume(me, login.session, login.expires).unwrap();
    assert_eq!(resumed.roster, roster);
}

pub(super) fn rosters_are_read_together(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    world.befriend(alice, bob);
    world.group_of(&[carol, alice]);
    world.login(bob);
    let each: Vec<_> = [alice, bob, carol].map(|user| world.roster(user)).to_vec();
    let nobody = UserId(999_999);
    assert_eq!(world.rosters(&[carol, nobody, alice, bob]), each);
    assert_eq!(world.rosters(&[nobody]), []);
    assert_eq!(world.rosters(&[]), []);
    world.delete(bob);
    let users: Vec<UserId> = world
        .rosters(&[alice, bob, carol])
        .iter()
        .map(|roster| roster.user)
        .collect();
    assert_eq!(users, [alice, carol]);
}

pub(super) fn heads_are_read_together(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let direct = world.befriend(alice, bob);
    let direct_id = world.conversation(alice, direct);
    let group = world.group_of(&[alice, bob]);
    for text in ["a", "b", "c"] {
        world.send(alice, direct, text, text);
    }
    let versions: Vec<(UserId, u64)> = [alice, carol]
        .map(|user| (user, world.version(user)))
        .to_vec();
    world.delete(bob);
    let mut heads = vec![
        Head {
            conversation: direct_id,
            place: direct,
            last: Seq(3),
        },
        Head {
            conversation: group.conversation(),
            place: Place::Group(group),
            last: Seq(3),
        },
    ];
    heads.sort_by_key(|head| head.conversation);
    let read = Read::Heads {
        conversations: vec![group.conversation(), ConversationId(999_999), direct_id],
        users: vec![carol, UserId(999_999), bob, alice],
    };
    // Bob's going raised the version of his friend.
    let versions = vec![(alice, versions[0].1 + 1), versions[1]];
    assert_eq!(world.read(read), ReadDone::Heads { heads, versions });
    let none = Read::Heads {
        conversations: Vec::new(),
        users: Vec::new(),
    };
    let nothing = ReadDone::Heads {
        heads: Vec::new(),
        versions: Vec::new(),
    };
    assert_eq!(world.read(none), nothing);
}
