//! Friendships.

use crate::id::{ConversationRef, Seq, UserId};
use crate::log::FriendState::{Blocked, Friends, None as Nobody, Requested, RequestedBy};
use crate::protocol::ErrorCode;
use crate::protocol::request::FriendAction::{Accept, Block, Reject, Remove, Unblock};
use crate::protocol::request::UserRef;
use crate::store::{Applied, Command, ConversationState, Done};

use super::world::{World, ask, direct, friend, name, send, touched};
use super::{Subject, limits};

pub(super) fn requests_are_asked_and_accepted(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let versions = [alice, bob].map(|user| world.version(user));
    let done = world.command(ask(alice, bob));
    let asked = Done::Friend {
        user: bob,
        state: Requested,
    };
    assert_eq!(
        done,
        Applied {
            changed: vec![(alice, versions[0] + 1), (bob, versions[1] + 1)],
            ..Applied::unchanged(asked.clone())
        }
    );
    assert_eq!(world.state(alice, bob), Requested);
    assert_eq!(world.state(bob, alice), RequestedBy);
    assert_eq!(world.version(alice), versions[0] + 1);
    assert_eq!(world.version(bob), versions[1] + 1);

    // What holds already changes nothing.
    assert_eq!(world.command(ask(alice, bob)), Applied::unchanged(asked));
    world.refused(friend(alice, Accept, bob), ErrorCode::NotFriends);
    assert_eq!(world.roster(alice).conversations, []);

    let done = world.friend(bob, Accept, alice, Friends);
    assert_eq!(done.entries[..], []);
    assert_eq!(touched(&done), [alice, bob]);
    assert_eq!(world.state(alice, bob), Friends);
    assert_eq!(world.state(bob, alice), Friends);
    let roster = world.roster(alice);
    let id = roster.conversations[0].id;
    let empty = ConversationState {
        id,
        conversation: ConversationRef::User(bob),
        last: Seq(0),
        joined: Seq(1),
        delivered: Seq(0),
        read: Seq(0),
        peer: Some((Seq(0), Seq(0))),
    };
    assert_eq!(roster.conversations, [empty]);
    let theirs = ConversationState {
        conversation: ConversationRef::User(alice),
        ..empty
    };
    assert_eq!(world.roster(bob).conversations, [theirs]);

    for user in [alice, bob] {
        let other = if user == alice { bob } else { alice };
        let holds = Applied::unchanged(Done::Friend {
            user: other,
            state: Friends,
        });
        assert_eq!(world.command(friend(user, Accept, other)), holds);
        assert_eq!(world.command(ask(user, other)), holds);
    }
}

pub(super) fn requests_by_name_find_every_spelling(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let (alice, bob) = (world.register("alice"), world.register("B\u{f6}b"));
    let by_name = |text| Command::FriendRequest {
        user: alice,
        who: UserRef::Name(name(text)),
    };
    world.refused(by_name("bob"), ErrorCode::NoSuchUser);
    world.refused(by_name("ALICE"), ErrorCode::BadRequest);
    let done = world.command(by_name("bo\u{308}B"));
    let state = Requested;
    assert_eq!(done.done, Done::Friend { user: bob, state });
    assert_eq!(world.state(bob, alice), RequestedBy);
}

pub(super) fn crossing_requests_make_friends(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol, dave] = world.users();
    world.command(ask(alice, bob));
    let done = world.command(ask(bob, alice));
    let state = Friends;
    assert_eq!(done.done, Done::Friend { user: alice, state });
    assert_eq!(touched(&done), [alice, bob]);
    assert_eq!(world.state(alice, bob), Friends);
    world.send(alice, direct(alice, bob), "k", "hello");

    // Both at once, in one transaction.
    let done = world.batch(vec![ask(carol, dave), ask(dave, carol)]);
    let states: Vec<Done> = done.into_iter().map(|done| done.unwrap().done).collect();
    assert_eq!(
        states,
        [
            Done::Friend {
                user: dave,
                state: Requested
            },
            Done::Friend {
                user: carol,
                state: Friends
            }
        ]
    );
    assert_eq!(world.state(carol, dave), Friends);
    assert_eq!(world.roster(dave).conversations.len(), 1);
}

pub(super) fn requests_are_rejected_withdrawn_and_friends_removed(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    // (who acts on the other, after these requests)
    world.command(ask(alice, bob));
    let done = world.friend(bob, Reject, alice, Nobody);
    assert_eq!(touched(&done), [alice, bob]);
    assert_eq!(
        [world.state(alice, bob), world.state(bob, alice)],
        [Nobody; 2]
    );

    world.command(ask(alice, bob));
    let done = world.friend(alice, Remove, bob, Nobody);
    assert_eq!(touched(&done), [alice, bob]);
    assert_eq!(
        [world.state(alice, bob), world.state(bob, alice)],
        [Nobody; 2]
    );

    world.befriend(alice, bob);
    let done = world.friend(alice, Remove, bob, Nobody);
    assert_eq!(touched(&done), [alice, bob]);
    assert_eq!(
        [world.state(alice, bob), world.state(bob, alice)],
        [Nobody; 2]
    );

    for action in [Reject, Remove, Unblock] {
        let done = world.friend(alice, action, bob, Nobody);
        assert_eq!(touched(&done), [], "{action:?} of nobody");
    }
    world.refused(friend(alice, Accept, bob), ErrorCode::NotFriends);
}

pub(super) fn a_pair_has_one_conversation_for_good(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    let id = world.conversation(alice, place);
    world.send(alice, place, "a", "before");
    world.friend(bob, Remove, alice, Nobody);
    // Former friends still read what there is.
    assert_eq!(world.conversation(bob, place), id);
    assert_eq!(world.texts(bob, place), ["before"]);
    world.refused(send(alice, place, "b", "no"), ErrorCode::NotFriends);

    world.befriend(bob, alice);
    assert_eq!(world.conversation(alice, place), id);
    assert_eq!(world.conversation(bob, place), id);
    assert_eq!(world.send(bob, place, "c", "after"), Seq(2));
    assert_eq!(world.texts(alice, place), ["before", "after"]);
    assert_eq!(world.roster(alice).conversations.len(), 1);
}

pub(super) fn blocks_end_friendship_and_bar_requests(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob] = world.users();
    let place = world.befriend(alice, bob);
    world.send(bob, place, "b", "hi");
    let done = world.friend(alice, Block, bob, Blocked);
    assert_eq!(touched(&done), [alice, bob]);
    assert_eq!(world.state(alice, bob), Blocked);
    assert_eq!(world.state(bob, alice), Nobody);
    assert_eq!(world.texts(alice, place), ["hi"]);
    for (user, other) in [(alice, bob), (bob, alice)] {
        world.refused(ask(user, other), ErrorCode::Blocked);
        world.refused(friend(user, Accept, other), ErrorCode::Blocked);
        world.refused(send(user, place, "n", "no"), ErrorCode::Blocked);
    }
    let done = world.friend(alice, Block, bob, Blocked);
    assert_eq!(touched(&done), []);
    let done = world.friend(alice, Unblock, bob, Nobody);
    assert_eq!(touched(&done), [alice]);
    assert_eq!(world.state(alice, bob), Nobody);
    world.refused(send(bob, place, "n", "no"), ErrorCode::NotFriends);
    world.befriend(bob, alice);
    assert_eq!(world.send(bob, place, "n", "yes"), Seq(2));
}

pub(super) fn blocks_are_each_ones_own(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let [alice, bob, carol] = world.users();
    // A block of a stranger, and of who has asked.
    world.friend(alice, Block, bob, Blocked);
    world.command(ask(alice, carol));
    let done = world.friend(carol, Block, alice, Blocked);
    assert_eq!(touched(&done), [alice, carol]);
    assert_eq!(world.state(alice, carol), Nobody);

    let done = world.friend(bob, Block, alice, Blocked);
    assert_eq!(touched(&done), [bob]);
    assert_eq!(world.state(alice, bob), Blocked);
    assert_eq!(world.state(bob, alice), Blocked);
    world.friend(alice, Unblock, bob, Nobody);
    world.refused(ask(alice, bob), ErrorCode::Blocked);
    assert_eq!(world.state(bob, alice), Blocked);
    // Removing and rejecting do not lift a block.
    for action in [Remove, Reject] {
        world.friend(bob, action, alice, Blocked);
    }
    world.friend(bob, Unblock, alice, Nobody);
    world.befriend(alice, bob);
}

pub(super) fn one_is_no_friend_of_oneself(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    world.refused(ask(alice, alice), ErrorCode::BadRequest);
    for action in [Accept, Reject, Remove, Block, Unblock] {
        world.refused(friend(alice, action, alice), ErrorCode::BadRequest);
    }
    let nobody = UserId(999_999);
    world.refused(ask(alice, nobody), ErrorCode::NoSuchUser);
    world.refused(friend(alice, Block, nobody), ErrorCode::NoSuchUser);
    assert_eq!(world.roster(alice).friends, []);
}

pub(super) fn friendships_have_a_limit(subject: &mut dyn Subject) {
    let mut world = World::new(subject);
    let alice = world.register("alice");
    let limit = usize::try_from(limits().friends).unwrap();
    let others: Vec<UserId> = (0..=limit)
        .map(|index| world.register(&format!("other {index}")))
        .collect();
    for other in &others[..limit] {
        world.command(ask(*other, alice));
    }
    let last = others[limit];
    world.refused(ask(alice, last), ErrorCode::Limit);
    world.refused(ask(last, alice), ErrorCode::Limit);
    world.refused(friend(alice, Block, last), ErrorCode::Limit);
    // What is there may change its state.
    world.friend(alice, Accept, others[0], Friends);
    world.friend(alice, Block, others[1], Blocked);
    world.friend(alice, Reject, others[2], Nobody);
    world.command(ask(last, alice));
    assert_eq!(world.roster(alice).friends.len(), limit);
}
