//! Embeds the async node in a program, with a front-end of its own: two users in this process who
//! register, become friends and chat, without a socket and without JSON. The store is one of the
//! program's own, in memory; `parlor_storage::SqlStore` is one that lasts.
//!
//! `cargo run -p parlor --example embed_node`

#![expect(clippy::print_stdout, reason = "a program that shows something")]

use std::error::Error;
use std::sync::Mutex;
use std::time::SystemTime;

use parlor::{LocalConnection, Node, Sink};
use parlor_core::engine::Config;
use parlor_core::id::{ConversationRef, StoreToken, UserId};
use parlor_core::log::Body;
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{FriendAction, Start, UserRef};
use parlor_core::protocol::{Event, Reply, Request};
use parlor_core::secret::Secret;
use parlor_core::sim::MemoryStore;
use parlor_core::store::{Limits, Store, StoreRequest};
use parlor_core::time::{Timestamp, millis};

#[async_std::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = Node::builder();
    let store = Memory {
        rows: Mutex::new(MemoryStore::new(Limits::default())),
        answers: builder.sink(),
    };
    let config = Config::new(Secret::new("32 bytes or more that nobody knows"));
    let node = builder.start(config, store);

    let (mut ada, ada_id) = enter(&node, "ada").await?;
    let (mut bob, bob_id) = enter(&node, "bob").await?;
    let who = UserRef::Id(bob_id);
    ada.ask(Request::FriendRequest { who }).await?;
    let (action, user) = (FriendAction::Accept, ada_id);
    bob.ask(Request::Friend { action, user }).await?;

    say(&mut ada, bob_id, "hello bob").await?;
    println!("bob reads: {}", hear(&mut bob, ada_id).await?);
    say(&mut bob, ada_id, "hello ada").await?;
    println!("ada reads: {}", hear(&mut ada, bob_id).await?);

    drop((ada, bob));
    node.drain();
    node.wait().await?;
    println!("the node has drained");
    Ok(())
}

/// Registers a user and logs in.
async fn enter(node: &Node, name: &str) -> Result<(LocalConnection, UserId), Box<dyn Error>> {
    let mut connection = node.connect().await?;
    let (name, password) = (Name::new(name)?, Secret::new("correct horse"));
    let register = Request::Register {
        name,
        password: password.clone(),
        invite: None,
    };
    let Reply::Registered { user } = connection.ask(register).await? else {
        return Err("a new user has a number".into());
    };
    let login = Request::Login {
        who: UserRef::Id(user),
        password,
        device: None,
        start: Start::default(),
    };
    connection.ask(login).await?;
    Ok((connection, user))
}

async fn say(from: &mut LocalConnection, to: UserId, text: &str) -> Result<(), Box<dyn Error>> {
    let message = Request::Send {
        to: ConversationRef::User(to),
        // Repeating a message with its key is safe.
        key: Key::new(text).ok_or("a key has 1 to 64 bytes")?,
        text: text.into(),
        reply_to: None,
        meta: None,
    };
    from.ask(message).await?;
    Ok(())
}

/// Waits for the next text from a user.
async fn hear(reader: &mut LocalConnection, from: UserId) -> Result<String, Box<dyn Error>> {
    while let Some(event) = reader.event().await {
        if let Event::Message(message) = event
            && message.from == from
            && let Body::Text(text) = message.body
        {
            return Ok(text.text.to_string());
        }
    }
    Err("the connection is closed".into())
}

/// A store of one's own: take requests, answer each once.
struct Memory {
    rows: Mutex<MemoryStore>,
    answers: Sink,
}

impl Store for Memory {
    fn submit(&self, requests: Vec<(StoreToken, StoreRequest)>) {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = Timestamp(millis(since));
        let Ok(mut rows) = self.rows.lock() else {
            return;
        };
        let answers = requests
            .into_iter()
            .map(|(token, request)| (token, rows.execute(request, now)));
        self.answers.stored(answers.collect());
    }
}
