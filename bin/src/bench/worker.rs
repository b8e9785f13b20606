//! A process that does a share of the work, as it is told on stdin.

use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use serde::Serialize;
use thiserror::Error;

use super::errands::{Errands, Person};
use super::group::Group;
use super::hub::{Hub, Player};
use super::idle::Idle;
use super::message::{read_digits, write_number};
use super::order::{Command, Order, Said, Work};
use super::pairs::{Pace, Pairs};
use super::play::Play;
use super::returning::{Manner, Returning};
use crate::fail;

/// How long a round of the loop waits when nothing happens.
const ROUND: Duration = Duration::from_millis(100);

/// How often it says how far it is.
const NEWS: Duration = Duration::from_millis(250);

/// The shortest time between two messages that an open loop wakes up for; more are sent together.
const SHORTEST_NAP: Duration = Duration::from_micros(200);

/// The longest nap of an open loop.
const LONGEST_NAP: Duration = Duration::from_millis(20);

/// How many messages are under way while the past is made: fewer than any server takes.
const PAST_WINDOW: u64 = 4096;

/// How many of them one pair's may be.
const PAST_WINDOW_OF_ONE: u64 = 32;

/// Why a worker cannot go on.
#[derive(Debug, Error)]
enum Failure {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Server(String),
    #[error("it was told what it does not understand: {0}")]
    Order(#[from] serde_json::Error),
    #[error("whoever gave the orders is gone")]
    Alone,
    #[error(
        "nothing has come of the preparations for {0} s, {1} of {2} are done; has the server `rates = false`?"
    )]
    Stuck(u64, u64, u64),
}

/// Works until all is done.
pub(crate) fn run() -> ExitCode {
    crate::serve::raise_descriptor_limit();
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell.
        Err(Failure::Alone) => ExitCode::FAILURE,
        Err(failure) => match say(&Said::Failed {
            why: failure.to_string(),
        }) {
            Ok(()) => ExitCode::FAILURE,
            Err(_) => fail(&failure),
        },
    }
}

fn work() -> Result<(), Failure> {
    let mut first = String::new();
    if io::stdin().lock().read_line(&mut first)? == 0 {
        return Err(Failure::Alone);
    }
    let order: Order = serde_json::from_str(&first)?;
    let mut hub = Hub::new(order.count(), !order.raw)?;
    let worker = Worker {
        commands: commands(hub.waker()),
        order: &order,
    };
    if order.raw {
        worker.enter_raw(&mut hub)?;
        say(&Said::Entered { group: None })?;
        worker.told(&mut hub, &mut Quiet::default())?;
        return worker.play(&mut hub, &[], None);
    }
    let mut errands = Errands::new(&order);
    let makes_group = matches!(order.work, Work::Group { .. });
    errands.enter(makes_group).map_err(Failure::Server)?;
    worker.prepare(&mut hub, &mut errands)?;
    let group = errands.group;
    say(&Said::Entered { group })?;
    let Command::Relate { group } = worker.told(&mut hub, &mut errands)? else {
        return Err(Failure::Alone);
    };
    worker.relate(&mut errands, group);
    worker.prepare(&mut hub, &mut errands)?;
    let people = errands.people;
    match order.work {
        Work::Storm { messages, .. } | Work::Replay { messages, .. } => {
            worker.make_past(&mut hub, &people, messages)?;
        }
        _ => {}
    }
    worker.play(&mut hub, &people, group)
}

struct Worker<'a> {
    order: &'a Order,
    commands: Receiver<Result<Command, serde_json::Error>>,
}

impl<'a> Worker<'a> {
    /// Returns the next command, where there is one.
    fn command(&self) -> Result<Option<Command>, Failure> {
        match self.commands.try_recv() {
            Ok(command) => Ok(Some(command?)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Failure::Alone),
        }
    }

    /// Waits for the next command.
    fn told(&self, hub: &mut Hub, player: &mut impl Player) -> Result<Command, Failure> {
        loop {
            if let Some(command) = self.command()? {
                return Ok(command);
            }
            hub.turn(player, ROUND)?;
        }
    }

    /// Carries errands out.
    fn prepare(&self, hub: &mut Hub, errands: &mut Errands<'_>) -> Result<(), Failure> {
        let mut news = Instant::now();
        let (mut before, mut since) = (0, Instant::now());
        while !errands.is_done() {
            errands.step(hub)?;
            hub.turn(errands, ROUND)?;
            if let Some(why) = errands.failure.take() {
                return Err(Failure::Server(why));
            }
            let (done, all) = (errands.done, errands.all);
            if done > before {
                (before, since) = (done, Instant::now());
            } else if since.elapsed() > self.order.patience() {
                return Err(Failure::Stuck(since.elapsed().as_secs(), done, all));
            }
            if news.elapsed() > NEWS {
                news = Instant::now();
                say(&Said::Prepared { done, all })?;
            }
            // Should nobody want it any more, this finds out.
            self.command()?;
        }
        let (done, all) = (errands.done, errands.all);
        say(&Said::Prepared { done, all })?;
        Ok(())
    }

    /// Has the users make friends, or join a group.
    fn relate(&self, errands: &mut Errands<'_>, group: Option<u64>) {
        let users = self.order.count();
        match self.order.work {
            Work::Group { .. } => {
                if let Some(group) = group {
                    errands.join(group);
                }
            }
            Work::Idle { friends, .. } => {
                let friends = usize::try_from(friends).unwrap_or(0);
                for (user, other) in friendships(users, friends) {
                    errands.befriend(user, other);
                }
            }
            Work::Pairs { .. } | Work::Flood { .. } | Work::Storm { .. } | Work::Replay { .. } => {
                for user in 0..users {
                    errands.befriend(user, user ^ 1);
                }
            }
        }
    }

    /// Has the first of each pair send messages that will be missed later.
    fn make_past(&self, hub: &mut Hub, people: &[Person], messages: u32) -> Result<(), Failure> {
        let messages = u64::from(messages);
        let lanes = u64::try_from(people.len() / 2).unwrap_or(0);
        let all = messages * lanes;
        let pace = Pace::Window((PAST_WINDOW / lanes.max(1)).clamp(1, PAST_WINDOW_OF_ONE));
        let mut pairs = Pairs::new(self.order, people, pace, Some(messages));
        let mut news = Instant::now();
        let (mut before, mut since) = (0, Instant::now());
        pairs.go(hub);
        while !pairs.is_complete() {
            pairs.step(hub);
            hub.turn(&mut pairs, ROUND)?;
            self.command()?;
            let tally = pairs.tally();
            let done = tally.deliveries;
            if let Some(fault) = tally.faults.told.first() {
                return Err(Failure::Server(fault.clone()));
            }
            if done > before {
                (before, since) = (done, Instant::now());
            } else if since.elapsed() > self.order.patience() {
                return Err(Failure::Stuck(since.elapsed().as_secs(), done, all));
            }
            if news.elapsed() > NEWS {
                news = Instant::now();
                say(&Said::Prepared { done, all })?;
            }
        }
        Ok(())
    }

    /// Connects to a byte router; each connection says first to whose others its lines go, and hears
    /// it back once they do.
    fn enter_raw(&self, hub: &mut Hub) -> Result<(), Failure> {
        let mut quiet = Quiet::default();
        let together = match self.order.work {
            Work::Group { .. } => u64::MAX,
            _ => 2,
        };
        for user in 0..self.order.count() {
            let address = self.order.address(user);
            hub.connect(user, address.ok_or(Failure::Alone)?)?;
            if let Some(out) = hub.out(user) {
                write_number(self.order.index(user) / together, out);
                out.push(b'\n');
            }
            while quiet.entered <= user {
                hub.turn(&mut quiet, ROUND)?;
                self.command()?;
                if let Some(why) = quiet.failure.take() {
                    return Err(Failure::Server(why));
                }
            }
        }
        Ok(())
    }

    /// Does what the work is.
    fn play(&self, hub: &mut Hub, people: &[Person], group: Option<u64>) -> Result<(), Failure> {
        let order = self.order;
        let nobody = vec![Person::default(); order.count()];
        let people = if order.raw { &nobody } else { people };
        let mut play: Box<dyn Play + 'a> = match order.work {
            Work::Pairs { window, .. } => {
                let pace = Pace::Window(window.into());
                Box::new(Pairs::new(order, people, pace, None))
            }
            Work::Flood { rate, .. } => {
                let share = f64::from(order.users) / f64::from(order.work.users());
                let pace = Pace::Rate(f64::from(rate) * share);
                Box::new(Pairs::new(order, people, pace, None))
            }
            Work::Group {
                senders, window, ..
            } => {
                let group = group.unwrap_or(0);
                Box::new(Group::new(order, people, group, senders, window.into()))
            }
            Work::Idle { .. } => Box::new(Idle::new(order)),
            Work::Storm { messages, .. } => {
                Box::new(Returning::new(order, people, messages, Manner::Together))
            }
            Work::Replay { messages, .. } => {
                Box::new(Returning::new(order, people, messages, Manner::Repeatedly))
            }
        };
        self.drive(hub, play.as_mut())
    }

    /// Drives a work through its phases.
    fn drive(&self, hub: &mut Hub, play: &mut dyn Play) -> Result<(), Failure> {
        say(&Said::Ready)?;
        let _pacer = match self.order.work {
            Work::Flood { rate, .. } => Some(Pacer::start(hub.waker(), rate)),
            _ => None,
        };
        let mut news = Instant::now();
        let mut has_finished = false;
        loop {
            match self.command()? {
                Some(Command::Go) => play.go(hub),
                Some(Command::Begin) => play.begin(hub),
                Some(Command::End) => break,
                Some(Command::Relate { .. } | Command::Drain { .. }) | None => {}
            }
            play.step(hub);
            hub.turn(play, ROUND)?;
            if news.elapsed() > NEWS {
                news = Instant::now();
                let deliveries = play.tally().deliveries;
                say(&Said::Count { deliveries })?;
            }
            if !has_finished && play.is_finished() {
                has_finished = true;
                play.tally_mut().end();
                say(&Said::Finished)?;
            }
        }
        play.end();
        self.wait(hub, play, |play| play.is_stopped())?;
        say(&Said::Stopped { last: play.last() })?;
        let last = loop {
            match self.command()? {
                Some(Command::Drain { last }) => break last,
                _ => hub.turn(play, ROUND)?,
            }
        };
        self.wait(hub, play, |play| play.is_drained(last))?;
        play.settle(last);
        Ok(say(&Said::Done(Box::new(play.tally().outcome())))?)
    }

    /// Waits for something; not for ever, and not once something went wrong.
    fn wait(
        &self,
        hub: &mut Hub,
        play: &mut dyn Play,
        is_there: impl Fn(&dyn Play) -> bool,
    ) -> Result<(), Failure> {
        let since = Instant::now();
        while !is_there(play)
            && play.tally().faults.count == 0
            && since.elapsed() < self.order.patience()
        {
            play.step(hub);
            hub.turn(play, Duration::from_millis(5))?;
        }
        Ok(())
    }
}

/// Reads commands on a thread of its own, which wakes the loop up.
fn commands(waker: Arc<Waker>) -> Receiver<Result<Command, serde_json::Error>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else {
                break;
            };
            if sender.send(serde_json::from_str(&line)).is_err() {
                break;
            }
            // Where that fails, the loop looks by itself soon.
            let _later = waker.wake();
        }
        drop(sender);
        let _later = waker.wake();
    });
    receiver
}

/// Wakes the loop up again and again, more exactly than it could by itself.
struct Pacer(Arc<AtomicBool>);

impl Pacer {
    fn start(waker: Arc<Waker>, rate: u32) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let nap = Duration::from_secs(1) / rate.max(1);
        let nap = nap.clamp(SHORTEST_NAP, LONGEST_NAP);
        let stop = stopped.clone();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) && waker.wake().is_ok() {
                thread::sleep(nap);
            }
        });
        Self(stopped)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts the connections that are on their channels, and expects nothing else.
#[derive(Debug, Default)]
struct Quiet {
    entered: usize,
    failure: Option<String>,
}

impl Player for Quiet {
    fn line(&mut self, _hub: &mut Hub, user: usize, line: &[u8], _at: u64) {
        match read_digits(line) {
            Some(_) if self.entered == user => self.entered += 1,
            _ => {
                self.failure = Some(format!("the router sends to user {user} what nobody sent"));
            }
        }
    }

    fn closed(&mut self, _hub: &mut Hub, _user: usize, why: &str) {
        self.failure = Some(why.to_owned());
    }
}

/// Returns who asks whom for friendship, so that each of so many users has that many friends, or
/// one fewer where it is odd: those next to it in a ring.
fn friendships(users: usize, friends: usize) -> Vec<(usize, usize)> {
    let mut asked = Vec::new();
    for user in 0..users {
        for distance in 1..=(friends / 2).min(users.saturating_sub(1) / 2) {
            let other = (user + distance) % users;
            asked.extend([(user, other), (other, user)]);
        }
    }
    asked
}

/// Says something to whoever gave the orders.
fn say(said: &impl Serialize) -> Result<(), io::Error> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::friendships;

    #[test]
    fn everyone_in_the_ring_has_as_many_friends_and_both_ask() {
        for (users, friends, have) in [
            (30, 10, 10),
            (11, 10, 10),
            (5, 10, 4),
            (2, 10, 0),
            (9, 3, 2),
        ] {
            let asked = friendships(users, friends);
            let set: BTreeSet<(usize, usize)> = asked.iter().copied().collect();
            assert_eq!(set.len(), asked.len(), "nobody asks twice");
            for user in 0..users {
                assert_eq!(set.iter().filter(|it| it.0 == user).count(), have);
            }
            assert!(
                set.iter()
                    .all(|(user, other)| set.contains(&(*other, *user)))
            );
        }
    }
}
