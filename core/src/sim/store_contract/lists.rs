//! Lists, page by page.

use crate::id::{ConversationRef, GroupId, Place, Seq, UserId};
use crate::log::{FriendState, JoinPolicy, Role};
use crate::protocol::ErrorCode;
use crate::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, GroupReply, Listing, MemberItem, UserItem,
};
use crate::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction};
use crate::store::{Read, ReadDone};

use super::Subject;
use super::world::{World, ask, manage, name, own};

/// Checks a list of five items, ascending by a position: whole, and in pages.
#[track_caller]
fn check<T, P>(
    expected: &[T],
    position: impl Fn(&T) -> P,
    mut page: impl FnMut(Option<P>, u32) -> Listing<T>,
) where
    T: Clone + PartialEq + std::fmt::Debug,
{
    assert_eq!(expected.len(), 5);
    let listing = |items: &[T], more| Listing {
        items: items.to_vec(),
        more,
    };
    assert_eq!(page(None, 6), listing(expected, false));
    assert_eq!(page(None, 5), listing(expected, false));
    assert_eq!(page(None, 4), listing(&expected[..4], true));
    let after = |index: usize| Some(position(&expected[index]));
    assert_eq!(page(after(0), 1), listing(&expected[1..2], true));
    assert_eq!(page(after(1), 2), listing(&expected[2..4], true));
    assert_eq!(page(after(1), 3), listing(&expected[2..], false));
    assert_eq!(page(after(4), 3), listing(&[], false));
}

pub(super) fn friends_are_listed_in_pages(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [a, b, c, d, e, me] = world.users();
    world.befriend(me, e);
    world.command(ask(me, a));
    world.command(ask(b, me));
    world.friend(me, FriendAction::Block, d, FriendState::Blocked);
    world.befriend(c, me);
    let states = [
        (a, FriendState::Requested),
        (b, FriendState::RequestedBy),
        (c, FriendState::Friends),
        (d, FriendState::Blocked),
        (e, FriendState::Friends),
    ];
    let expected: Vec<FriendItem> = (0_u8..)
        .zip(states)
        .map(|(index, (user, state))| FriendItem {
            user,
            name: name(&format!("user {index}")),
            state,
            online: None,
        })
        .collect();
    check(
        &expected,
        |item| item.user,
        |after, limit| {
            let reader = me;
            match world.read(Read::Friends {
                reader,
                after,
                limit,
            }) {
                ReadDone::Friends(listing) => listing,
                other => panic!("a list of friends, not {other:?}"),
            }
        },
    );
}

pub(super) fn groups_are_listed_in_pages(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [me, other] = world.users();
    world.befriend(me, other);
    let expected: Vec<GroupItem> = (0..5)
        .map(|index| {
            let owner = if index % 2 == 0 { me } else { other };
            let group = world.group(owner, JoinPolicy::Open);
            world.group(other, JoinPolicy::Open);
            world.join(me, group);
            GroupItem {
                group,
                name: name("a group"),
                role: if owner == me {
                    Role::Owner
                } else {
                    Role::Member
                },
            }
        })
        .collect();
    check(
        &expected,
        |item| item.group,
        |after, limit| {
            let reader = me;
            match world.read(Read::Groups {
                reader,
                after,
                limit,
            }) {
                ReadDone::Groups(listing) => listing,
                other => panic!("a list of groups, not {other:?}"),
            }
        },
    );
}

pub(super) fn conversations_are_listed_in_pages(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [a, b, c, me] = world.users();
    // Groups first, and friends backwards: the list is by what the reader calls them.
    let groups = [me, a].map(|owner| {
        let group = world.group(owner, JoinPolicy::Open);
        world.join(me, group);
        group
    });
    for friend in [c, b, a] {
        let place = world.befriend(me, friend);
        world.send(friend, place, "k", "hello");
    }
    world.friend(b, FriendAction::Block, me, FriendState::Blocked);
    let direct = |user| ConversationItem {
        conversation: ConversationRef::User(user),
        last: Seq(1),
        delivered: Seq(0),
        read: Seq(0),
        peer: Some((Seq(0), Seq(0))),
    };
    let of_group = |group: GroupId, last| ConversationItem {
        conversation: ConversationRef::Group(group),
        last: Seq(last),
        delivered: Seq(last - 1),
        read: Seq(last - 1),
        peer: None,
    };
    let expected = [
        direct(a),
        direct(b),
        direct(c),
        of_group(groups[0], 1),
        of_group(groups[1], 2),
    ];
    check(
        &expected,
        |item| item.conversation,
        |after, limit| {
            let reader = me;
            match world.read(Read::Conversations {
                reader,
                after,
                limit,
            }) {
                ReadDone::Conversations(listing) => listing,
                other => panic!("a list of conversations, not {other:?}"),
            }
        },
    );
}

fn members(
    world: &mut World<'_>,
    reader: UserId,
    group: GroupId,
    after: Option<UserId>,
    limit: u32,
) -> Result<Listing<MemberItem>, ErrorCode> {
    let read = Read::Members {
        reader,
        group,
        after,
        limit,
    };
    world.try_read(read).map(|done| match done {
        ReadDone::Members(listing) => listing,
        other => panic!("a list of members, not {other:?}"),
    })
}

pub(super) fn members_are_listed_in_pages(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [a, b, c, d, e, stranger] = world.users();
    let group = world.group_of(&[c, e, d, b, a]);
    world.give_role(c, group, a, Role::Admin);
    world.give_role(c, group, e, Role::Muted);
    // A block, either way, hides who is online.
    world.friend(b, FriendAction::Block, d, FriendState::Blocked);
    world.friend(e, FriendAction::Block, b, FriendState::Blocked);
    let item = |user, index: u8, role, online| MemberItem {
        user,
        name: name(&format!("user {index}")),
        role,
        online,
    };
    let expected = [
        item(a, 0, Role::Admin, Some(false)),
        item(b, 1, Role::Member, Some(false)),
        item(c, 2, Role::Owner, Some(false)),
        item(d, 3, Role::Member, None),
        item(e, 4, Role::Muted, None),
    ];
    check(
        &expected,
        |item| item.user,
        |after, limit| members(&mut world, b, group, after, limit).unwrap(),
    );
    let refused = members(&mut world, stranger, group, None, 9);
    assert_eq!(refused, Err(ErrorCode::NotMember));
    let refused = members(&mut world, a, GroupId(999_999), None, 9);
    assert_eq!(refused, Err(ErrorCode::NoSuchGroup));
}

pub(super) fn join_requests_are_listed_in_pages(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [a, b, c, owner, member, stranger] = world.users();
    let group = world.group_of(&[owner, member]);
    let change = crate::log::GroupChange {
        join: Some(JoinPolicy::Approval),
        ..crate::log::GroupChange::default()
    };
    world.command(crate::store::Command::GroupUpdate {
        user: owner,
        group,
        change,
    });
    for user in [c, a, b] {
        world.command(own(user, GroupSelfAction::Join, group));
    }
    let mut requests = |reader, group, after, limit| {
        let read = Read::Requests {
            reader,
            group,
            after,
            limit,
        };
        world.try_read(read).map(|done| match done {
            ReadDone::Requests(listing) => listing,
            other => panic!("a list of requests, not {other:?}"),
        })
    };
    let expected: Vec<UserItem> = (0_u8..)
        .zip([a, b, c])
        .map(|(index, user)| UserItem {
            user,
            name: name(&format!("user {index}")),
        })
        .collect();
    for (after, limit, range, more) in [
        (None, 9, 0..3, false),
        (None, 3, 0..3, false),
        (None, 2, 0..2, true),
        (Some(a), 1, 1..2, true),
        (Some(a), 2, 1..3, false),
        (Some(c), 2, 3..3, false),
    ] {
        let listing = Listing {
            items: expected[range].to_vec(),
            more,
        };
        assert_eq!(requests(owner, group, after, limit), Ok(listing));
    }
    for (reader, group, code) in [
        (member, group, ErrorCode::Forbidden),
        (a, group, ErrorCode::NotMember),
        (stranger, group, ErrorCode::NotMember),
        (owner, GroupId(999_999), ErrorCode::NoSuchGroup),
    ] {
        assert_eq!(requests(reader, group, None, 9), Err(code));
    }
}

pub(super) fn groups_are_looked_up(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [owner, stranger, invited] = world.users();
    let closed = world.group(owner, JoinPolicy::Invite);
    let open = world.group(owner, JoinPolicy::Open);
    world.send(owner, Place::Group(open), "k", "hello");
    world.command(manage(owner, GroupOtherAction::Invite, closed, invited));
    let reply = |group, join, role, last: Option<u64>| {
        Ok(ReadDone::Group(Box::new(GroupReply {
            group,
            name: name("a group"),
            description: "what for".into(),
            join,
            role,
            members: 1,
            last: last.map(Seq),
        })))
    };
    let own_role = Some(Role::Owner);
    for (reader, group, expected) in [
        (
            owner,
            open,
            reply(open, JoinPolicy::Open, own_role, Some(2)),
        ),
        (stranger, open, reply(open, JoinPolicy::Open, None, None)),
        (
            owner,
            closed,
            reply(closed, JoinPolicy::Invite, own_role, Some(1)),
        ),
        (
            invited,
            closed,
            reply(closed, JoinPolicy::Invite, None, None),
        ),
        (stranger, closed, Err(ErrorCode::NotMember)),
        (owner, GroupId(999_999), Err(ErrorCode::NoSuchGroup)),
    ] {
        let found = world.try_read(Read::Group { reader, group });
        assert_eq!(found, expected, "{reader:?} of {group:?}");
    }
}
