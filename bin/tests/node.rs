//! The async node, with a store in memory and without a network.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod node_world;

use std::sync::{Arc, Mutex};

use parlor::{AskError, Ended, Node, NodeError, Received, Sink};
use parlor_core::engine::Config;
use parlor_core::id::{ConversationRef, RequestId, Seq, StoreToken, SubscriptionToken, UserId};
use parlor_core::log::{Body, FriendState};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{FriendAction, UserRef};
use parlor_core::protocol::{ErrorCode, Event, Reply, Request};
use parlor_core::relay::{Channel, Relay, RelayMessage};
use parlor_core::store::{Store, StoreRequest};

use node_world::{Client, End, Memory, Piece, config, login, node, scripted, soon, user};

fn friend_request(user: UserId) -> Request {
    Request::FriendRequest {
        who: UserRef::Id(user),
    }
}

fn accept(user: UserId) -> Request {
    Request::Friend {
        action: FriendAction::Accept,
        user,
    }
}

fn send(to: UserId, key: &str) -> Request {
    Request::Send {
        to: ConversationRef::User(to),
        key: Key::new(key).unwrap(),
        text: key.into(),
        reply_to: None,
        meta: None,
    }
}

/// Reads events until one is as wanted.
async fn event<T>(
    connection: &mut parlor::LocalConnection,
    wanted: impl Fn(Event) -> Option<T>,
) -> T {
    soon(async {
        loop {
            let event = connection.event().await.expect("the connection lives");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
}

#[async_std::test]
async fn users_in_the_process_chat() {
    let node = node();
    let (mut ada, ada_id) = user(&node, "ada").await;
    let (mut bob, bob_id) = user(&node, "bob").await;
    soon(ada.ask(friend_request(bob_id))).await.unwrap();
    let reply = soon(bob.ask(accept(ada_id))).await.unwrap();
    assert_eq!(
        reply,
        Reply::FriendState {
            state: FriendState::Friends
        }
    );
    for number in 1..=50 {
        let reply = soon(ada.ask(send(bob_id, &number.to_string()))).await;
        assert!(matches!(reply, Ok(Reply::Appended { seq: Seq(seq), .. }) if seq == number));
    }
    for number in 1..=50_u64 {
        let (seq, text) = event(&mut bob, |event| match event {
            Event::Message(message) => match message.body {
                Body::Text(text) => Some((message.seq, text.text)),
                _ => None,
            },
            _ => None,
        })
        .await;
        assert_eq!((seq.0, &*text), (number, number.to_string().as_str()));
    }
    node.stop();
    soon(node.wait()).await.unwrap();
}

#[async_std::test]
async fn a_node_without_connections_drains() {
    let node = node();
    let (ada, _) = user(&node, "ada").await;
    drop(ada);
    node.drain();
    node.drain();
    assert_eq!(soon(node.wait()).await, Ok(()));
}

#[async_std::test]
async fn a_refusal_is_an_error_of_ask() {
    let node = node();
    let mut connection = soon(node.connect()).await.unwrap();
    let refused = soon(connection.ask(Request::Logout)).await.unwrap_err();
    let AskError::Refused(error) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.code, ErrorCode::NotLoggedIn);
    node.stop();
    soon(node.wait()).await.unwrap();
}

#[async_std::test]
async fn who_never_looks_at_events_can_ask_for_nothing_more() {
    let node = node();
    let (mut ada, ada_id) = user(&node, "ada").await;
    let (mut bob, bob_id) = user(&node, "bob").await;
    soon(ada.ask(friend_request(bob_id))).await.unwrap();
    soon(bob.ask(accept(ada_id))).await.unwrap();
    // Each brings an event as well: what one sends comes back.
    let mut refused = None;
    for number in 0..2000 {
        if let Err(error) = soon(ada.ask(send(bob_id, &number.to_string()))).await {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(AskError::Unread));
    event(&mut ada, |event| {
        matches!(event, Event::Message(_)).then_some(())
    })
    .await;
    node.stop();
    soon(node.wait()).await.unwrap();
}

#[async_std::test]
async fn replies_carry_the_number_of_their_request() {
    let node = node();
    let mut connection = soon(node.connect()).await.unwrap();
    for id in [7, 7, 3] {
        soon(connection.send(RequestId(id), Request::Ping))
            .await
            .unwrap();
    }
    for id in [7, 7, 3] {
        let received = soon(connection.receive()).await;
        let Some(Received::Reply { id: got, result }) = received else {
            panic!("{received:?}");
        };
        assert_eq!(got, Some(RequestId(id)));
        assert!(matches!(result, Ok(Reply::Pong { .. })));
    }
    node.stop();
}

#[async_std::test]
async fn a_dropped_connection_is_gone() {
    let node = node();
    let (mut ada, ada_id) = user(&node, "ada").await;
    let (mut bob, bob_id) = user(&node, "bob").await;
    soon(ada.ask(friend_request(bob_id))).await.unwrap();
    soon(bob.ask(accept(ada_id))).await.unwrap();
    drop(bob);
    event(&mut ada, |event| match event {
        Event::Presence {
            user,
            online: false,
        } if user == bob_id => Some(()),
        _ => None,
    })
    .await;
    let mut bob = soon(node.connect()).await.unwrap();
    soon(bob.ask(login(Name::new("bob").unwrap())))
        .await
        .unwrap();
    event(&mut ada, |event| match event {
        Event::Presence { user, online: true } if user == bob_id => Some(()),
        _ => None,
    })
    .await;
    node.stop();
}

#[async_std::test]
async fn a_stopped_node_lets_everyone_go() {
    let (transport, connect) = scripted();
    let builder = Node::builder();
    let store = Memory::new(builder.sink());
    let node = builder.transport(transport).start(config(), store);
    let client = connect();
    let (mut ada, _) = user(&node, "ada").await;
    client.frames([ping(1)]);
    client.tape.until(|tape| tape.lines().pop()).await;
    node.stop();
    assert_eq!(soon(node.wait()).await, Ok(()));
    assert_eq!(soon(ada.event()).await, None);
    assert_eq!(soon(ada.ask(Request::Ping)).await, Err(AskError::Closed));
    assert!(matches!(soon(node.connect()).await, Err(Ended)));
    client.tape.ended().await;
}

#[async_std::test]
async fn a_drain_tells_clients_and_ends_whoever_does_not_listen() {
    let (transport, connect) = scripted();
    let builder = Node::builder();
    let store = Memory::new(builder.sink());
    let node = builder.transport(transport).start(config(), store);
    let (polite, deaf) = (connect(), connect());
    for client in [&polite, &deaf] {
        client.frames([ping(1)]);
        client.tape.until(|tape| tape.lines().pop()).await;
    }
    deaf.tape.accept_only(0);
    // Nobody reads from this one, nor drops it before the node has ended.
    let (idle, _) = user(&node, "idle").await;
    node.drain();
    node.drain();
    assert_eq!(soon(node.wait()).await, Ok(()));
    assert_eq!(polite.tape.ended().await, End::Closed);
    assert_eq!(deaf.tape.ended().await, End::Aborted);
    let last = polite.tape.lines().pop().unwrap();
    assert!(last.contains(r#""code":"draining""#), "{last}");
    drop(idle);
}

fn ping(id: u64) -> String {
    format!(r#"{{"id":{id},"op":"ping"}}"#)
}

fn scripted_node(config: Config) -> (Node, Client) {
    let (transport, connect) = scripted();
    let builder = Node::builder();
    let store = Memory::new(builder.sink());
    let node = builder.transport(transport).start(config, store);
    (node, connect())
}

#[async_std::test]
async fn more_requests_than_a_pipeline_holds_are_all_answered_in_order() {
    let mut config = config();
    config.pipeline = 8;
    let (node, client) = scripted_node(config);
    client.frames((1..=3000).map(ping));
    client.frames((3001..=3010).map(ping));
    let lines = client
        .tape
        .until(|tape| Some(tape.lines()).filter(|lines| lines.len() >= 3010))
        .await;
    for (index, line) in lines.iter().enumerate() {
        let start = format!(r#"{{"id":{},"ok":{{"at":"#, index + 1);
        assert!(line.starts_with(&start), "{line}");
    }
    node.stop();
}

#[async_std::test]
async fn what_came_before_the_end_of_input_is_answered() {
    let (node, client) = scripted_node(config());
    client.frames((1..=200).map(ping));
    client.send.try_send(Piece::End).unwrap();
    assert_eq!(client.tape.ended().await, End::Closed);
    assert_eq!(client.tape.lines().len(), 200);
    node.stop();
}

#[async_std::test]
async fn a_frame_over_the_limit_is_answered_and_ends_the_connection() {
    let (node, client) = scripted_node(config());
    client.frames([ping(1), "no json".to_owned()]);
    client.send.try_send(Piece::TooLarge).unwrap();
    assert_eq!(client.tape.ended().await, End::Closed);
    let lines = client.tape.lines();
    assert_eq!(lines.len(), 3);
    for (line, code) in [(&lines[1], "bad_frame"), (&lines[2], "frame_too_large")] {
        let start = format!(r#"{{"id":null,"error":{{"code":"{code}""#);
        assert!(line.starts_with(&start), "{line}");
    }
    node.stop();
}

#[async_std::test]
async fn a_broken_connection_ends_and_others_go_on() {
    let (transport, connect) = scripted();
    let builder = Node::builder();
    let store = Memory::new(builder.sink());
    let node = builder.transport(transport).start(config(), store);
    let (broken, sound) = (connect(), connect());
    broken.frames([ping(1)]);
    broken.send.try_send(Piece::Broken).unwrap();
    broken.tape.ended().await;
    sound.frames([ping(1)]);
    sound.tape.until(|tape| tape.lines().pop()).await;
    // Nothing is left of the broken one that a drain would wait for.
    sound.send.try_send(Piece::End).unwrap();
    node.drain();
    assert_eq!(soon(node.wait()).await, Ok(()));
}

/// A store that panics when it is asked to register somebody.
struct Panicking(Memory);

impl Store for Panicking {
    fn submit(&self, requests: Vec<(StoreToken, StoreRequest)>) {
        for (_, request) in &requests {
            assert!(
                !matches!(request, StoreRequest::Register { .. }),
                "a planted panic"
            );
        }
        self.0.submit(requests);
    }
}

#[async_std::test]
async fn a_panic_ends_the_node_and_is_told() {
    let builder = Node::builder();
    let store = Panicking(Memory::new(builder.sink()));
    let node = builder.start(config(), store);
    let mut connection = soon(node.connect()).await.unwrap();
    let register = Request::Register {
        name: Name::new("ada").unwrap(),
        password: parlor_core::secret::Secret::new("correct horse"),
        invite: None,
    };
    assert_eq!(soon(connection.ask(register)).await, Err(AskError::Closed));
    assert_eq!(soon(node.wait()).await, Err(NodeError::Panicked));
}

/// A relay that confirms everything and writes down what it is told.
#[derive(Clone)]
struct Recorder {
    sink: Sink,
    published: Arc<Mutex<Vec<(Channel, RelayMessage)>>>,
    subscribed: Arc<Mutex<Vec<Channel>>>,
}

impl Relay for Recorder {
    fn publish(&self, messages: Vec<(Channel, RelayMessage)>) {
        self.published.lock().unwrap().extend(messages);
    }

    fn subscribe(&self, token: SubscriptionToken, channels: Vec<Channel>) {
        self.subscribed.lock().unwrap().extend(channels);
        self.sink.subscribed(token);
    }

    fn unsubscribe(&self, channels: Vec<Channel>) {
        let mut subscribed = self.subscribed.lock().unwrap();
        subscribed.retain(|channel| !channels.contains(channel));
    }

    fn ask_presence(&self, token: StoreToken, _users: Vec<UserId>) {
        self.sink.presence(token, Some(Vec::new()));
    }
}

#[async_std::test]
async fn a_relay_hears_what_concerns_other_nodes() {
    let builder = Node::builder();
    let sink = builder.sink();
    let store = Memory::new(sink.clone());
    let relay = Recorder {
        sink: sink.clone(),
        published: Arc::default(),
        subscribed: Arc::default(),
    };
    let mut config = config();
    config.clustered = true;
    let node = builder.relay(relay.clone()).start(config, store);
    sink.relay_up();
    let (mut ada, ada_id) = user(&node, "ada").await;
    let (mut bob, bob_id) = user(&node, "bob").await;
    soon(ada.ask(friend_request(bob_id))).await.unwrap();
    soon(bob.ask(accept(ada_id))).await.unwrap();
    soon(ada.ask(send(bob_id, "hello"))).await.unwrap();
    for user in [ada_id, bob_id] {
        let subscribed = relay.subscribed.lock().unwrap();
        assert!(subscribed.contains(&Channel::User(user)));
    }
    let published = relay.published.lock().unwrap().clone();
    let hello = |message: &RelayMessage| match message {
        RelayMessage::Entry(entry) => {
            matches!(&entry.body, Body::Text(text) if &*text.text == "hello")
        }
        _ => false,
    };
    assert!(
        published
            .iter()
            .any(|(channel, message)| *channel == Channel::User(bob_id) && hello(message)),
        "{published:?}"
    );
    node.stop();
    soon(node.wait()).await.unwrap();
}
