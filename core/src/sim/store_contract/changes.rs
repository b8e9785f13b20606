//! What changed since a moment.

use crate::id::{ConversationId, Place, Seq, UserId};
use crate::protocol::request::GroupSelfAction;
use crate::store::{Head, Read, ReadDone};
use crate::time::Timestamp;

use super::Subject;
use super::world::{World, ask, own};

/// The database's time, and what changed.
type Changes = (
    Timestamp,
    Vec<(Timestamp, Head)>,
    Vec<(Timestamp, UserId, u64)>,
);

fn changes(
    world: &mut World<'_>,
    since: Option<Timestamp>,
    conversations_after: Option<(Timestamp, ConversationId)>,
    users_after: Option<(Timestamp, UserId)>,
    limit: u32,
) -> Changes {
    match world.read(Read::Changes {
        since,
        conversations_after,
        users_after,
        limit,
    }) {
        ReadDone::Changes {
            as_of,
            conversations,
            users,
        } => (as_of, conversations, users),
        other => panic!("changes, not {other:?}"),
    }
}

/// Asserts that a user is listed with the present version.
#[track_caller]
fn listed(world: &mut World<'_>, since: Timestamp, user: UserId) {
    let version = world.version(user);
    let (_, _, users) = changes(world, Some(since), None, None, 99);
    let found: Vec<u64> = users
        .iter()
        .filter(|(at, id, _)| *id == user && *at >= since)
        .map(|(_, _, version)| *version)
        .collect();
    assert_eq!(found, [version], "{user:?} since {since:?}");
}

pub(super) fn sessions_stand_as_of_the_same_clock(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice] = world.users();
    let (before, ..) = changes(&mut world, None, None, None, 99);
    let opened = world.login(alice);
    let (between, ..) = changes(&mut world, None, None, None, 99);
    let resumed = world.resume(alice, opened.session, opened.expires).unwrap();
    let (after, ..) = changes(&mut world, None, None, None, 99);
    let moments = [before, opened.as_of, between, resumed.as_of, after];
    assert!(moments.is_sorted(), "{moments:?}");
}

pub(super) fn changes_show_conversations_and_users(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let (start, conversations, users) = changes(&mut world, None, None, None, 99);
    assert_eq!((conversations, users), (Vec::new(), Vec::new()));
    let [alice, bob] = world.users();
    for user in [alice, bob] {
        listed(&mut world, start, user);
    }
    let (now, ..) = changes(&mut world, None, None, None, 99);
    assert!(now >= start);
    let place = world.befriend(alice, bob);
    for user in [alice, bob] {
        listed(&mut world, now, user);
    }
    let id = world.conversation(alice, place);
    let group = world.group_of(&[alice, bob]);
    world.send(alice, place, "a", "x");
    world.send(alice, place, "b", "x");
    let mut heads = vec![
        Head {
            conversation: id,
            place,
            last: Seq(2),
        },
        Head {
            conversation: group.conversation(),
            place: Place::Group(group),
            last: Seq(2),
        },
    ];
    let (as_of, conversations, _) = changes(&mut world, Some(now), None, None, 99);
    assert!(
        conversations
            .iter()
            .all(|(at, _)| *at >= now && *at <= as_of)
    );
    assert!(conversations.is_sorted_by_key(|(at, head)| (*at, head.conversation)));
    let mut found: Vec<Head> = conversations.iter().map(|(_, head)| *head).collect();
    heads.sort_by_key(|head| head.conversation);
    found.sort_by_key(|head| head.conversation);
    assert_eq!(found, heads);

    // Every change shows again with what it made of a row.
    let (now, ..) = changes(&mut world, None, None, None, 99);
    world.send(bob, Place::Group(group), "c", "x");
    let (_, conversations, _) = changes(&mut world, Some(now), None, None, 99);
    let head = conversations
        .iter()
        .map(|(_, head)| *head)
        .find(|head| head.conversation == group.conversation());
    assert_eq!(head.map(|head| head.last), Some(Seq(3)));
    world.login(alice);
    listed(&mut world, now, alice);
    world.command(own(bob, GroupSelfAction::Leave, group));
    listed(&mut world, now, bob);
    let (later, ..) = changes(&mut world, None, None, None, 99);
    let future = Timestamp(later.0 + 1_000_000);
    let (_, conversations, users) = changes(&mut world, Some(future), None, None, 99);
    assert_eq!((conversations, users), (Vec::new(), Vec::new()));
}

pub(super) fn changes_are_read_in_pages(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let (start, ..) = changes(&mut world, None, None, None, 99);
    let [a, b, c, d, e] = world.users();
    let group = world.group_of(&[a, b, c, d, e]);
    world.befriend(a, b);
    world.befriend(c, d);
    world.command(ask(e, a));
    world.send(a, Place::Group(group), "k", "x");
    let (_, conversations, users) = changes(&mut world, Some(start), None, None, 99);
    assert_eq!((conversations.len(), users.len()), (3, 5));
    assert!(users.is_sorted_by_key(|(at, user, _)| (*at, *user)));

    let (mut paged_conversations, mut paged_users) = (Vec::new(), Vec::new());
    let (mut after, mut users_after) = (None, None);
    for _ in 0..3 {
        let page = changes(&mut world, Some(start), after, users_after, 2);
        assert!(page.1.len() <= 2 && page.2.len() <= 2);
        after = page
            .1
            .last()
            .map(|(at, head)| (*at, head.conversation))
            .or(after);
        users_after = page
            .2
            .last()
            .map(|(at, user, _)| (*at, *user))
            .or(users_after);
        paged_conversations.extend(page.1);
        paged_users.extend(page.2);
    }
    assert_eq!(paged_conversations, conversations);
    assert_eq!(paged_users, users);
    let end = changes(&mut world, Some(start), after, users_after, 2);
    assert_eq!((end.1, end.2), (Vec::new(), Vec::new()));
}
