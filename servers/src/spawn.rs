//! Starting processes from one thread that never ends: the signal that ends a process with its
//! parent comes when the parent's *thread* ends.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Job = (Command, Sender<io::Result<Child>>);

/// Starts a process.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| starter().ok());
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (sender, receiver) = channel();
    let starter = starter.as_ref().ok_or_else(gone)?;
    starter.send((command, sender)).map_err(|_| gone())?;
    receiver.recv().map_err(|_| gone())?
}

fn starter() -> io::Result<Sender<Job>> {
    let (sender, receiver) = channel::<Job>();
    let work = move || {
        for (mut command, answer) in receiver {
            // Whoever asked may have been killed.
            let _ = answer.send(command.spawn());
        }
    };
    thread::Builder::new()
        .name("starter of servers".to_owned())
        .spawn(work)?;
    Ok(sender)
}
