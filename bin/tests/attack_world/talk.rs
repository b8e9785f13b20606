//! Two who talk with each other while others attack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::friends_world::Friends;
use crate::program_world::Client;

/// The pause between two messages, far below what the default rates allow.
const PACE: Duration = Duration::from_millis(25);

/// A conversation that goes on until it is ended: each message is acknowledged, and is there before
/// the next one is written.
pub(crate) struct Talk {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Talked>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Talked {
    pub(crate) messages: u64,
    /// The longest from a message's writing to its arrival.
    pub(crate) longest: Duration,
}

impl Talk {
    /// Lets Alice write to Bob.
    pub(crate) fn start(port: u16) -> Self {
        let mut friends = Friends::new(Client::connect(port), Client::connect(port));
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let mut talked = Talked {
                messages: 0,
                longest: Duration::ZERO,
            };
            while !ended.load(Ordering::Relaxed) {
                let begin = Instant::now();
                friends.send_and_see();
                talked.messages += 1;
                talked.longest = talked.longest.max(begin.elapsed());
                if talked.messages.is_multiple_of(20) {
                    // Who only reads counts as silent.
                    friends.bob.ok(json!({"op": "ping"}));
                }
                thread::sleep(PACE);
            }
            talked
        });
        Self { end, thread }
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Talked {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
