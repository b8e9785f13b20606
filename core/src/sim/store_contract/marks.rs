//! How far users have got.

use crate::id::{ConversationId, ConversationRef, Place, Seq, UserId};
use crate::protocol::request::GroupSelfAction;
use crate::store::Mark;

use super::Subject;
use super::world::{World, own};

/// `delivered` and `read` of a user, and the other side's as that user sees them.
type Marks = ((u64, u64), Option<(u64, u64)>);

fn marks(world: &mut World<'_>, reader: UserId, place: Place) -> Marks {
    let wanted = place.seen_by(reader);
    let roster = world.roster(reader);
    let state = roster
        .conversations
        .iter()
        .find(|state| Some(state.conversation) == wanted)
        .unwrap();
    let peer = state.peer.map(|(delivered, read)| (delivered.0, read.0));
    ((state.delivered.0, state.read.0), peer)
}

fn mark(conversation: ConversationId, user: UserId, delivered: u64, read: u64) -> Mark {
    Mark {
        conversation,
        user,
        delivered: Seq(delivered),
        read: Seq(read),
    }
}

pub(super) fn marks_rise_and_never_fall(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let id = world.conversation(alice, place);
    for number in 0..9 {
        world.send(alice, place, &format!("{number}"), "x");
    }
    let version = world.version(bob);
    for (delivered, read, expected) in [
        (3, 1, (3, 1)),
        (2, 0, (3, 1)),
        (0, 2, (3, 2)),
        (5, 0, (5, 2)),
        // What was read has arrived.
        (0, 7, (7, 7)),
        (8, 3, (8, 7)),
        (0, 0, (8, 7)),
    ] {
        world.mark(vec![mark(id, bob, delivered, read)]);
        assert_eq!(marks(&mut world, bob, place).0, expected);
    }
    // Several in one request, the same one twice.
    world.mark(vec![
        mark(id, bob, 9, 8),
        mark(id, alice, 4, 4),
        mark(id, bob, 8, 9),
        mark(id, alice, 2, 1),
    ]);
    assert_eq!(marks(&mut world, bob, place), ((9, 9), Some((4, 4))));
    assert_eq!(world.version(bob), version, "marks are no change of a user");
}

pub(super) fn marks_are_clamped_and_strangers_left_out(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    let place = world.befriend(alice, bob);
    let id = world.conversation(alice, place);
    let group = world.group_of(&[alice, bob]);
    world.send(alice, place, "a", "x");
    world.send(alice, place, "b", "x");
    world.mark(vec![
        mark(id, carol, 1, 1),
        mark(ConversationId(999_999), bob, 1, 1),
        mark(id, bob, 99, 1),
        mark(id, UserId(999_999), 1, 1),
        mark(id, alice, 1, u64::MAX >> 11),
    ]);
    assert_eq!(marks(&mut world, bob, place), ((2, 1), Some((2, 2))));
    assert_eq!(world.roster(carol).conversations, []);
    world.mark(Vec::new());

    // A mark inserts no row for who has left.
    world.command(own(bob, GroupSelfAction::Leave, group));
    world.mark(vec![mark(group.conversation(), bob, 2, 2)]);
    let roster = world.roster(bob);
    let places: Vec<ConversationRef> = roster
        .conversations
        .iter()
        .map(|state| state.conversation)
        .collect();
    assert_eq!(places, [ConversationRef::User(alice)]);
    assert_eq!(roster.groups, []);
}

pub(super) fn marks_show_to_the_other_side(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let id = world.conversation(alice, place);
    for number in 0..4 {
        world.send(alice, place, &format!("{number}"), "x");
    }
    world.mark(vec![mark(id, bob, 3, 2)]);
    assert_eq!(marks(&mut world, alice, place), ((0, 0), Some((3, 2))));
    assert_eq!(marks(&mut world, bob, place), ((3, 2), Some((0, 0))));
    // Changing a member's role does not touch the marks.
    let group = world.group_of(&[alice, bob]);
    let in_group = Place::Group(group);
    world.mark(vec![mark(group.conversation(), bob, 2, 2)]);
    world.give_role(alice, group, bob, crate::log::Role::Admin);
    assert_eq!(marks(&mut world, bob, in_group), ((2, 2), None));
    assert_eq!(marks(&mut world, alice, in_group), ((0, 0), None));
}
