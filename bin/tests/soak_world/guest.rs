//! Guests: pairs of accounts that come, do a little of everything, and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load_world::HANG;
use crate::program_world::{Client, PASSWORD};

/// What guests were told, all together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// How often somebody came.
    pub(crate) visits: u64,
    /// Messages that were acknowledged, repeats of one counted once.
    pub(crate) acknowledged: u64,
    /// Log entries that were pushed to somebody.
    pub(crate) pushed: u64,
    /// Requests that were refused because something was away.
    pub(crate) refused: u64,
}

/// Guests who keep coming until they are told not to.
pub(crate) struct Guests {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

impl Guests {
    /// Lets so many pairs come, each to the nodes at these ports in turn.
    pub(crate) fn invite(ports: &[u16], pairs: usize) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let threads = (0..pairs).map(|pair| {
            let (ended, ports) = (Arc::clone(&end), ports.to_owned());
            thread::spawn(move || {
                let mut seen = Seen::default();
                while !ended.load(Ordering::Relaxed) {
                    visit(pair, &ports, &mut seen);
                }
                seen
            })
        });
        Self {
            threads: threads.collect(),
            end,
        }
    }

    /// Lets the last visits end; returns what all have seen.
    pub(crate) fn go(self) -> Seen {
        self.end.store(true, Ordering::Relaxed);
        let seen = self.threads.into_iter().map(|it| it.join().unwrap());
        seen.fold(Seen::default(), |all, one| Seen {
            visits: all.visits + one.visits,
            acknowledged: all.acknowledged + one.acknowledged,
            pushed: all.pushed + one.pushed,
            refused: all.refused + one.refused,
        })
    }
}

/// A connection on which everything is asked until it is answered.
struct Guest<'a> {
    client: Client,
    user: u64,
    /// The newest entry of each conversation that has come.
    newest: BTreeMap<String, u64>,
    seen: &'a mut Seen,
}

/// Lets a pair come to two nodes, do something of everything, and go.
fn visit(pair: usize, ports: &[u16], seen: &mut Seen) {
    seen.visits += 1;
    let visit = seen.visits;
    let place = usize::try_from(visit).unwrap() + pair;
    let mut ann = Guest::come(
        &format!("guest-{pair}-ann"),
        ports[place % ports.len()],
        seen,
    );
    let group = ann.makes_a_group(visit);
    let to = {
        let mut ben = Guest::come(
            &format!("guest-{pair}-ben"),
            ports[(place + 1) % ports.len()],
            ann.seen,
        );
        if visit == 1 {
            ben.must(json!({"op": "friend_request", "user": ann.user}));
        }
        ben.must(json!({"op": "group_join", "group": group}));
        ben.sends(&json!({"group": group}), visit, "ben");
        ben.must(json!({"op": "history", "in": {"group": group}}));
        ben.must(json!({"op": "typing", "to": {"group": group}}));
        ben.must(json!({"op": "group_leave", "group": group}));
        // Some take leave, others are just gone.
        if visit.is_multiple_of(2) {
            ben.takes_leave();
        }
        ben.user
    };
    if visit == 1 {
        ann.must(json!({"op": "friend_accept", "user": to}));
    }
    ann.sends(&json!({"user": to}), visit, "ann");
    ann.must(json!({"op": "friends"}));
    ann.must(json!({"op": "group_disband", "group": group}));
    if visit.is_multiple_of(3) {
        ann.takes_leave();
    }
}

impl<'a> Guest<'a> {
    fn come(name: &str, port: u16, seen: &'a mut Seen) -> Self {
        let client = Client::connect(port);
        let mut guest = Self {
            client,
            user: 0,
            newest: BTreeMap::new(),
            seen,
        };
        if guest.seen.visits == 1 {
            let register = json!({"op": "register", "name": name, "password": PASSWORD});
            // One that was answered `unavailable` may have been carried out.
            guest.ask(register, &["name_taken"]);
        }
        let session = guest.must(json!({"op": "login", "name": name, "password": PASSWORD}));
        guest.user = session["user"].as_u64().unwrap();
        guest
    }

    /// Makes a group; repeated, it is the same one.
    fn makes_a_group(&mut self, visit: u64) -> Value {
        let key = format!("visit-{visit}");
        let create = json!({"op": "group_create", "name": "Visit", "key": key});
        self.must(create)["group"].take()
    }

    /// Sends, edits, recalls and acknowledges.
    fn sends(&mut self, to: &Value, visit: u64, who: &str) {
        let mut last = Value::Null;
        for number in 0..4 {
            let key = format!("{who}-{visit}-{number}");
            let text = "x".repeat(10 + 40 * number);
            let send = json!({"op": "send", "to": to, "key": key, "text": text});
            last = self.must(send)["seq"].take();
            self.seen.acknowledged += 1;
        }
        self.must(json!({"op": "edit", "in": to, "seq": last, "text": "edited"}));
        self.must(json!({"op": "recall", "in": to, "seq": last}));
        // Before it has come, the node may not know yet that somebody is a member here.
        self.arrives(to, last.as_u64().unwrap());
        self.must(json!({"op": "ack", "in": to, "read": last}));
    }

    /// Logs out once. Where the database is away meanwhile, the session may have ended without an
    /// answer, and the connection with it.
    fn takes_leave(&mut self) {
        self.client.send(&json!({"id": 7, "op": "logout"}));
        while let Some(frame) = self.client.read() {
            self.seen.pushed += u64::from(frame["event"] == "message");
            if frame["id"] == 7 {
                return;
            }
        }
    }

    /// Reads until a frame is as wanted.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let (pushed, newest) = (&mut self.seen.pushed, &mut self.newest);
        self.client.until(|frame| {
            if frame["event"] == "message" {
                *pushed += 1;
                let seq = frame["seq"].as_u64().unwrap();
                newest.insert(frame["in"].to_string(), seq);
            }
            assert_ne!(frame["event"], "notice", "{frame}");
            wanted(frame)
        })
    }

    /// Waits until an entry has come.
    fn arrives(&mut self, place: &Value, seq: u64) {
        let place = place.to_string();
        while self.newest.get(&place).is_none_or(|newest| *newest < seq) {
            self.until(|frame| frame["event"] == "message");
        }
    }

    /// Asks until the answer is `ok`.
    fn must(&mut self, request: Value) -> Value {
        self.ask(request, &[])["ok"].take()
    }

    /// Asks until the answer is `ok` or one of these errors; nothing else is answered but that
    /// something is away.
    fn ask(&mut self, mut request: Value, errors: &[&str]) -> Value {
        request["id"] = json!(7);
        let begin = Instant::now();
        loop {
            self.client.send(&request);
            let reply = self.until(|frame| frame["id"] == 7);
            let code = reply["error"]["code"].as_str();
            if code.is_none_or(|code| errors.contains(&code)) {
                return reply;
            }
            assert!(
                matches!(code, Some("unavailable" | "busy")),
                "{request}: {reply}"
            );
            self.seen.refused += 1;
            assert!(begin.elapsed() < HANG, "{request}: {reply}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}
