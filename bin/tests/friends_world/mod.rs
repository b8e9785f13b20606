//! Two friends on two nodes, and what they notice of the relay between these.

#![allow(dead_code, reason = "not all tests that share this module use it all")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::program_world::Client;

/// Two who are friends, connected and logged in.
pub(crate) struct Friends {
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    /// Alice's number.
    pub(crate) from: u64,
    /// Bob's number.
    pub(crate) to: u64,
    /// How many messages were sent.
    sent: u64,
}

impl Friends {
    /// Makes accounts for two connections, logs in and befriends.
    pub(crate) fn new(mut alice: Client, mut bob: Client) -> Self {
        let from = alice.register_and_login("alice");
        let to = bob.register_and_login("bob");
        alice.ok(json!({"op": "friend_request", "user": to}));
        bob.ok(json!({"op": "friend_accept", "user": from}));
        // Her node knows it from then on.
        alice.until(|frame| frame["event"] == "friend" && frame["state"] == "friends");
        let sent = 0;
        Self {
            alice,
            bob,
            from,
            to,
            sent,
        }
    }

    /// Sends a message from Alice to Bob; returns its text.
    fn send(&mut self) -> String {
        self.sent += 1;
        let text = format!("message {}", self.sent);
        let to = json!({"user": self.to});
        let send = json!({"op": "send", "to": to, "key": text, "text": text});
        self.alice.ok(send);
        text
    }

    /// Sends a message from Alice to Bob and waits until it is there.
    pub(crate) fn send_and_see(&mut self) {
        let text = self.send();
        self.bob.until(|frame| frame["text"] == text);
    }

    /// Has Alice type until Bob sees it: the store knows nothing of it, so it came by the relay.
    pub(crate) fn type_until_seen(&mut self) {
        let seen = AtomicBool::new(false);
        let typing = json!({"id": 0, "op": "typing", "to": {"user": self.to}});
        let (alice, bob) = (&mut self.alice, &mut self.bob);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !seen.load(Ordering::Relaxed) {
                    // Refused where she types too fast.
                    alice.ask(&typing);
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let _stop = Raise(&seen);
            bob.until(|frame| frame["event"] == "typing");
        });
        // What is still on its way comes before this.
        self.send_and_see();
    }
}

/// Raises a flag, whatever happens.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
