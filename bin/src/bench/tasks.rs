//! A router as that of `router.rs`, but over Parlor's transport, with two tasks of the async runtime for
//! each connection and a queue between them: among all threads of the runtime, or with an executor for
//! each core, on which a connection stays. Beside that one, which is a loop over epoll, it says what
//! tasks, queues and their scheduler cost.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use async_channel::{Receiver, Sender};
use async_std::task;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use parlor_transport_tcp::{
    Arrival, Connection, FrameReader, FrameWriter, Listener, ListenerOptions,
};

use super::message::read_digits;
use super::router::deal;
use crate::print;

/// How many pieces wait for a connection; whoever has more for it waits as well.
const WAITING: usize = 1024;

/// Lines that arrived together, for everybody else on a channel.
type Lines = Arc<Vec<u8>>;

/// Who is on which channel, by the numbers of connections.
type Members = HashMap<u64, Vec<(u64, Sender<Lines>)>>;

/// A connection and its number.
type Numbered = (u64, Connection);

/// All channels.
#[derive(Clone, Debug, Default)]
struct Channels {
    members: Arc<Mutex<Members>>,
}

/// Routes for ever, by the tasks of the runtime.
pub(super) async fn route(address: SocketAddr) -> io::Result<()> {
    let listener = listen(address).await?;
    let channels = Channels::default();
    for number in 0.. {
        let (reader, writer) = listener.accept().await.split();
        let (queue, queued) = async_channel::bounded(WAITING);
        task::spawn(write(writer, queued));
        task::spawn(read(reader, number, queue, channels.clone()));
    }
    Ok(())
}

/// Routes for ever, by so many executors with a thread each.
pub(super) async fn route_on(address: SocketAddr, executors: usize) -> io::Result<()> {
    let listener = listen(address).await?;
    let channels = Channels::default();
    let executors: Vec<Sender<Numbered>> = (0..executors)
        .map(|_| {
            let (hand, handed) = async_channel::unbounded();
            let channels = channels.clone();
            thread::spawn(|| task::block_on(execute(handed, channels)));
            hand
        })
        .collect();
    for number in 0.. {
        let connection = listener.accept().await;
        if let Some(executor) = executors.get(deal(number, executors.len())) {
            // It ends with the process.
            let _ended = executor.send((number, connection)).await;
        }
    }
    Ok(())
}

/// Does for ever what the connections that are handed over have to do.
async fn execute(handed: Receiver<Numbered>, channels: Channels) {
    let mut handed = pin!(handed.fuse());
    let mut tasks = FuturesUnordered::<LocalBoxFuture<'_, ()>>::new();
    loop {
        futures::select! {
            (number, connection) = handed.select_next_some() => {
                let (reader, writer) = connection.split();
                let (queue, queued) = async_channel::bounded(WAITING);
                tasks.push(write(writer, queued).boxed_local());
                tasks.push(read(reader, number, queue, channels.clone()).boxed_local());
            }
            () = tasks.select_next_some() => {}
        }
    }
}

async fn listen(address: SocketAddr) -> io::Result<Listener> {
    let options = ListenerOptions::default();
    let listener = Listener::bind(&address.to_string(), options).await?;
    print(&format!(
        "bench-router is ready: listening on {}\n",
        listener.local_addr()
    ));
    Ok(listener)
}

async fn read(mut reader: FrameReader, number: u64, queue: Sender<Lines>, channels: Channels) {
    let mut channel = None;
    loop {
        let mut lines = Vec::new();
        let arrival = reader.read(|frame| match channel {
            None => channel = read_digits(frame).inspect(|it| channels.join(*it, number, &queue)),
            Some(_) => {
                lines.extend_from_slice(frame);
                lines.push(b'\n');
            }
        });
        let arrival = arrival.await;
        if let Some(channel) = channel.filter(|_| !lines.is_empty()) {
            let lines = Arc::new(lines);
            for other in channels.others(channel, number) {
                // It may be gone.
                let _gone = other.send(Arc::clone(&lines)).await;
            }
        }
        // What does not begin with a channel is no client.
        if !matches!(arrival, Ok(Arrival::Frames)) || channel.is_none() {
            break;
        }
    }
    if let Some(channel) = channel {
        channels.leave(channel, number);
    }
}

/// Writes what waits, as much of it together as there is.
async fn write(mut writer: FrameWriter, queued: Receiver<Lines>) {
    while let Ok(first) = queued.recv().await {
        let mut bytes = first.to_vec();
        while let Ok(more) = queued.try_recv() {
            bytes.extend_from_slice(&more);
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match writer.write_some(rest).await {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(_) => return,
            }
        }
    }
    writer.close().await;
}

impl Channels {
    fn join(&self, channel: u64, number: u64, queue: &Sender<Lines>) {
        let mut all = self.lock();
        all.entry(channel)
            .or_default()
            .push((number, queue.clone()));
        // The first thing in a fresh queue, so there is room.
        let _room = queue.try_send(Arc::new(format!("{channel}\n").into_bytes()));
    }

    fn leave(&self, channel: u64, number: u64) {
        if let Some(members) = self.lock().get_mut(&channel) {
            members.retain(|(member, _)| *member != number);
        }
    }

    fn others(&self, channel: u64, number: u64) -> Vec<Sender<Lines>> {
        let all = self.lock();
        let members = all.get(&channel).into_iter().flatten();
        members
            .filter(|(member, _)| *member != number)
            .map(|(_, queue)| queue.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // Nothing that is done under the lock can leave it half done.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
