//! Pages of members, which no event would set right.

use std::time::Duration;

use parlor_core::engine::{Config, Input};
use parlor_core::id::{ConnectionId, GroupId};
use parlor_core::protocol::request::FriendAction;
use parlor_core::protocol::{Reply, Request};
use parlor_core::sim::Sent;

use super::{MOMENT, clustered};
use crate::{World, config, nobody};

impl World {
    /// Asks for a group's members without waiting for the answer.
    fn ask_members(&mut self, connection: ConnectionId, group: GroupId) {
        let request = Request::GroupMembers {
            group,
            after: None,
            limit: 50,
        };
        self.node.request(connection, 1000, request).unwrap();
    }

    /// Takes the answer: who is shown online, or not shown.
    fn members(&mut self, connection: ConnectionId) -> Option<Vec<(u64, Option<bool>)>> {
        let sent = self.node.take(connection);
        sent.into_iter().find_map(|sent| match sent {
            Sent::Reply(_, Ok(Reply::Members(list))) => {
                let items = list.items.into_iter();
                Some(items.map(|item| (item.user.0, item.online)).collect())
            }
            _ => None,
        })
    }
}

/// A node with user 2 on it, who is in a group with 1, a friend, 3, a stranger, and 4, who has
/// blocked 2; these have left long ago.
fn fellow_members(settings: Config) -> (World, ConnectionId, GroupId) {
    let mut world = World::with(settings);
    let circle = world.circle(4);
    let group = world.group_of(&circle);
    world.friend(circle[3], FriendAction::Block, 2);
    for index in [0, 2, 3] {
        world.node.disconnect(circle[index]).unwrap();
    }
    world.wait(Duration::from_secs(5));
    world.node.hold_presence();
    world.node.take(circle[1]);
    (world, circle[1], group)
}

fn page(one: bool, three: bool) -> Option<Vec<(u64, Option<bool>)>> {
    let page = [(1, Some(one)), (2, Some(true)), (3, Some(three)), (4, None)];
    Some(page.to_vec())
}

#[test]
fn a_page_of_members_waits_for_the_relay_where_nothing_is_known() {
    let (mut world, b, group) = fellow_members(clustered());
    world.ask_members(b, group);
    world.node.request(b, 1001, Request::Ping).unwrap();
    assert_eq!(world.node.take(b), []);
    assert_eq!(world.node.engine.counts().questions, 1);
    assert_eq!(world.answer(&[3]), [3]);
    assert_eq!(world.members(b), page(false, true));
    assert_eq!(world.node.engine.counts().questions, 0);
    // What is known of a friend is shown as it is.
    world.ask_about(1);
    world.answer(&[1]);
    world.ask_members(b, group);
    assert_eq!(world.answer(&[]), [3]);
    assert_eq!(world.members(b), page(true, false));
    // The relay may not know.
    world.ask_members(b, group);
    let (tokens, _) = world.asked();
    world.told(tokens[0], None).unwrap();
    assert_eq!(world.members(b), page(true, false));
    // Who came meanwhile is here.
    world.ask_members(b, group);
    world.login("c");
    assert_eq!(world.answer(&[]), [3]);
    assert_eq!(world.members(b), page(true, true));
    world.ask_members(b, group);
    assert_eq!(world.members(b), page(true, true));
    world.nobody_asked();
}

#[test]
fn a_page_of_members_waits_for_a_second_at_most() {
    let (mut world, b, group) = fellow_members(clustered());
    world.ask_members(b, group);
    let (tokens, _) = world.asked();
    world.wait(Duration::from_secs(1) - MOMENT);
    assert_eq!(world.members(b), None);
    world.wait(MOMENT);
    assert_eq!(world.members(b), page(false, false));
    assert_eq!(world.node.engine.counts().questions, 1);
    world.told(tokens[0], Some(&[3])).unwrap();
    assert_eq!(world.node.take(b), []);
    assert_eq!(world.node.engine.counts().questions, 0);
    // One that was answered does not come again.
    world.ask_members(b, group);
    world.answer(&[]);
    world.node.take(b);
    world.wait(Duration::from_secs(2));
    assert_eq!(world.node.take(b), []);
}

#[test]
fn a_page_of_members_whose_reader_has_left_is_dropped() {
    let (mut world, b, group) = fellow_members(clustered());
    world.ask_members(b, group);
    world.node.disconnect(b).unwrap();
    world.node.take(b);
    assert_eq!(world.answer(&[3]), [3]);
    assert_eq!(world.node.take(b), []);
    world.wait(Duration::from_secs(5));
    let counts = world.node.engine.counts();
    assert_eq!(counts, nobody(4));
}

#[test]
fn few_pages_of_members_wait_for_the_relay() {
    let settings = Config {
        presence_lists: 1,
        ..clustered()
    };
    let (mut world, b, group) = fellow_members(settings);
    let (other, _) = world.login("b");
    // A question about friends takes nothing from the room for pages.
    world.ask_about(1);
    let (friends, users) = world.asked();
    assert_eq!(users, [[1]]);
    world.ask_members(b, group);
    let (tokens, users) = world.asked();
    assert_eq!(users, [[3]]);
    world.node.take(other);
    world.ask_members(other, group);
    world.nobody_asked();
    assert_eq!(world.members(other), page(false, false));
    world.told(tokens[0], Some(&[3])).unwrap();
    assert_eq!(world.members(b), page(false, true));
    world.ask_members(other, group);
    assert_eq!(world.answer(&[3]), [3]);
    world.told(friends[0], Some(&[])).unwrap();
}

#[test]
fn without_a_relay_a_page_of_members_shows_who_is_here() {
    let (mut world, b, group) = fellow_members(clustered());
    world.node.input(Input::RelayLost).unwrap();
    world.ask_members(b, group);
    assert_eq!(world.members(b), page(false, false));
    let (mut world, b, group) = fellow_members(config());
    world.ask_members(b, group);
    assert_eq!(world.members(b), page(false, false));
    world.nobody_asked();
}
