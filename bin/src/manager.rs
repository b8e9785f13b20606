//! The service manager that started the node, such as systemd: it is told when the node is ready,
//! reads something anew and stops, and that it is alive (`sd_notify(3)`, `sd_watchdog_enabled(3)`).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_std::task;
use parlor::Node;
use rustix::time::{ClockId, clock_gettime};
use tracing::{info, warn};

/// The longest that a manager that reads nothing holds up the one who tells it something.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is told; clones tell the same one. Without a manager all of it does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    /// Whether the node has said that it stops: after that it is never ready again.
    stopping: Arc<AtomicBool>,
    /// How often the manager wants to hear that the node is alive.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Finds the manager by the environment that it gave: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and
    /// `WATCHDOG_PID`. One that cannot be reached is a warning in the log.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match connect(&name) {
            Ok(socket) => Self {
                socket: Some(Arc::new(socket)),
                watchdog: watchdog(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID")),
                ..Self::default()
            },
            Err(error) => {
                warn!(%error, ?name, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// Says that the node serves, and how; again after [`Manager::reloading`].
    pub(crate) fn ready(&self, status: &str) {
        if !self.stopping.load(Ordering::Acquire) {
            self.tell(&format!("READY=1\nSTATUS={status}"));
        }
    }

    /// Says that files are read anew; [`Manager::ready`] says when that is done.
    pub(crate) fn reloading(&self) {
        if !self.stopping.load(Ordering::Acquire) {
            let now = clock_gettime(ClockId::Monotonic);
            let (seconds, micros) = (now.tv_sec, now.tv_nsec / 1000);
            self.tell(&format!(
                "RELOADING=1\nMONOTONIC_USEC={}",
                seconds * 1_000_000 + micros
            ));
        }
    }

    /// Says that the node drains.
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// Says that the node is alive for as long as its engine answers, where the manager wants to hear
    /// that; ends with the node.
    pub(crate) async fn watch(self, node: Node) {
        let Some(watchdog) = self.watchdog else {
            return;
        };
        info!(
            seconds = watchdog.as_secs_f64(),
            "the service manager watches"
        );
        // The engine answers between two turns of its work: while one does not end, nothing is said.
        while node.inspect().await.is_ok() {
            self.tell("WATCHDOG=1");
            // As `sd_watchdog_enabled(3)` advises.
            task::sleep(watchdog / 2).await;
        }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            warn!(%error, state, "the service manager was not told");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(name)?)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Reads the name of a socket: a path, or an abstract name of Linux behind an `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => {
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(rest)
        }
        _ => SocketAddr::from_pathname(name),
    }
}

/// Reads how often to say that one is alive, unless that is meant for another process.
fn watchdog(micros: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if let Some(pid) = pid
        && number(pid) != Some(std::process::id().into())
    {
        return None;
    }
    let micros = number(micros?).filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{self, Receiver, SyncSender};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use async_std::task;
    use parlor::Node;
    use parlor_core::engine::Config;
    use parlor_core::id::{RequestId, StoreToken};
    use parlor_core::name::Name;
    use parlor_core::protocol::Request;
    use parlor_core::protocol::request::UserRef;
    use parlor_core::secret::Secret;
    use parlor_core::store::{Store, StoreRequest};

    use super::{Manager, watchdog};

    /// Far more than anything here takes.
    const HANG: Option<Duration> = Some(Duration::from_secs(60));

    /// A store that holds the engine's task up while it is told to, and says so.
    struct Stuck {
        holds: Arc<AtomicBool>,
        held: SyncSender<()>,
        let_go: Mutex<Receiver<()>>,
    }

    impl Store for Stuck {
        fn submit(&self, _: Vec<(StoreToken, StoreRequest)>) {
            if self.holds.load(Ordering::Acquire) {
                self.held.send(()).unwrap();
                self.let_go.lock().unwrap().recv().unwrap();
            }
        }
    }

    fn heard(socket: &UnixDatagram) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer)?;
        Ok(buffer.get(..count).unwrap().to_vec())
    }

    #[test]
    fn nothing_is_said_to_be_alive_while_the_engine_is_stuck() {
        let (held, is_held) = mpsc::sync_channel(8);
        let (let_go, told) = mpsc::sync_channel(8);
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let manager = Manager {
            socket: Some(Arc::new(theirs)),
            watchdog: Some(Duration::from_millis(2)),
            ..Manager::default()
        };
        let config = Config::new(Secret::new("a secret of at least 32 bytes ..."));
        let holds = Arc::new(AtomicBool::new(false));
        let store = Stuck {
            holds: Arc::clone(&holds),
            held,
            let_go: Mutex::new(told),
        };
        let node = Node::builder().start(config, store);
        let watch = task::spawn(manager.watch(node.clone()));
        ours.set_read_timeout(HANG).unwrap();
        for _ in 0..3 {
            assert_eq!(heard(&ours).unwrap(), b"WATCHDOG=1");
        }

        let mut connection = task::block_on(node.connect()).unwrap();
        let login = Request::Login {
            who: UserRef::Name(Name::new("ada").unwrap()),
            password: Secret::new("password"),
            device: None,
            start: Default::default(),
        };
        holds.store(true, Ordering::Release);
        task::block_on(connection.send(RequestId(1), login)).unwrap();
        is_held.recv_timeout(HANG.unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        while heard(&ours).is_ok() {}
        ours.set_nonblocking(false).unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert!(heard(&ours).is_err(), "a stuck engine was said to be alive");

        holds.store(false, Ordering::Release);
        let_go.send(()).unwrap();
        ours.set_read_timeout(HANG).unwrap();
        assert_eq!(heard(&ours).unwrap(), b"WATCHDOG=1");
        node.stop();
        task::block_on(watch);
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let number = |number: u32| Some(number.to_string().into());
        let own = std::process::id();
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(number(1_000_000), None), second);
        assert_eq!(watchdog(number(1_000_000), number(own)), second);
        assert_eq!(watchdog(number(1_000_000), number(own + 1)), None);
        assert_eq!(watchdog(number(0), None), None);
        assert_eq!(watchdog(None, number(own)), None);
        assert_eq!(watchdog(Some("soon".into()), None), None);
    }
}
