//! Pages of entries, and what happens while they are read.

use parlor_core::engine::{Config, Input};
use parlor_core::id::{ConnectionId, Seq, StoreToken};
use parlor_core::protocol::Request;
use parlor_core::protocol::request::UserRef;
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_core::store::StoreResult;

use crate::{World, config, name, said_elsewhere, user};

/// What a message with a text of three bytes weighs.
const MESSAGE: u32 = 163;

/// Takes the only page; see [`World::pages_read`].
fn page_read(world: &mut World) -> (StoreToken, StoreResult) {
    let mut pages = world.pages_read();
    assert_eq!(pages.len(), 1, "{pages:?}");
    pages.remove(0)
}

fn begin_login(world: &mut World, connection: ConnectionId, text: &str) {
    let login = Request::Login {
        who: UserRef::Name(name(text)),
        password: Secret::new("password"),
        device: None,
        start: Default::default(),
    };
    world.node.request(connection, 1, login).unwrap();
}

#[test]
fn a_page_is_not_for_the_next_user_of_the_connection() {
    let mut world = World::new();
    let circle = world.circle(3);
    world.node.disconnect(circle[1]).unwrap();
    said_elsewhere(&mut world, "for b");
    world.node.hold_store();
    let connection = world.connect();
    begin_login(&mut world, connection, "b");
    let (token, page) = page_read(&mut world);
    world.node.request(connection, 2, Request::Logout).unwrap();
    world.node.release_store().unwrap();
    // To c, a is user 1 as well.
    begin_login(&mut world, connection, "c");
    assert_eq!(world.node.take(connection).len(), 3, "three answers");
    world.node.complete(token, page).unwrap();
    assert_eq!(world.node.take(connection), []);
    assert_eq!(world.node.engine.counts().fetches, 0);
}

#[test]
fn the_end_of_a_page_is_believed_over_what_was_told() {
    let mut world = World::cluster();
    let circle = world.circle(2);
    let one = said_elsewhere(&mut world, "one");
    let mut never = (*one).clone();
    never.seq = Seq(9);
    world.node.hold_store();
    world.relay(RelayMessage::Entry(never.into()));
    let (token, page) = page_read(&mut world);
    world.node.complete(token, page).unwrap();
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
    assert_eq!(world.node.take_held(), [], "there is nothing more to read");
    // What follows is pushed as it comes.
    let two = said_elsewhere(&mut world, "two");
    world.relay(RelayMessage::Entry(two));
    assert_eq!(world.messages(circle[1]), [(user(1), 2, "two".into())]);
}

#[test]
fn what_came_without_credit_while_a_page_was_read_is_fetched_with_it() {
    let mut world = World::with(Config {
        clustered: true,
        outgoing: MESSAGE,
        ..config()
    });
    let circle = world.circle(2);
    world.node.stall(circle[1]);
    let one = said_elsewhere(&mut world, "one");
    world.node.hold_store();
    world.node.input(Input::RelayUp).unwrap();
    let (token, page) = page_read(&mut world);
    world.relay(RelayMessage::Entry(one));
    assert_eq!(world.messages(circle[1]), [(user(1), 1, "one".into())]);
    let two = said_elsewhere(&mut world, "two");
    world.relay(RelayMessage::Entry(two));
    world.node.complete(token, page).unwrap();
    world.node.release_store().unwrap();
    assert_eq!(world.messages(circle[1]), []);
    world.node.unstall(circle[1]).unwrap();
    assert_eq!(world.messages(circle[1]), [(user(1), 2, "two".into())]);
}
