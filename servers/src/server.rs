//! One process, whatever it serves.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::ServerError;
use crate::program::find;
use crate::spawn::spawn;

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(60);

/// How long a server may take to end when it is asked to; then it is killed.
pub const END: Duration = Duration::from_secs(40);

/// How often a server is looked at meanwhile.
const POLL: Duration = Duration::from_millis(10);

/// How many lines of a log an error shows.
const TAIL: usize = 12;

/// What to start.
pub struct Launch {
    /// What the server is called in errors and in the name of its log.
    pub name: String,
    /// The program, whose path is known.
    pub program: PathBuf,
    /// What the program is called with.
    pub arguments: Vec<String>,
    /// Where it runs and logs.
    pub folder: PathBuf,
    /// What ends it with its owner: `KILL`, or `TERM` where it has something of its own to end.
    pub with_owner: &'static str,
    /// Whether it, which is this process, answers.
    pub ready: Box<dyn Fn(u32) -> io::Result<()> + Send + Sync>,
}

/// A running server, or one that was ended and can be started again.
///
/// - [`pid`](Self::pid), [`is_running`](Self::is_running) and [`ended`](Self::ended) tell of its
///   process.
/// - [`kill9`](Self::kill9), [`stop`](Self::stop), [`cont`](Self::cont) and
///   [`terminate`](Self::terminate) send it signals; [`restart`](Self::restart) starts it again with
///   the same port and data.
/// - [`ask_to_end`](Self::ask_to_end) does not wait.
/// - Dropped, it ends as by [`terminate`](Self::terminate).
pub struct Server {
    launch: Launch,
    child: Option<Child>,
    /// Whether the process was asked to end.
    asked: bool,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// Where it does not start or does not answer within a minute.
    pub fn start(launch: Launch) -> Result<Self, ServerError> {
        let mut server = Self {
            launch,
            child: None,
            asked: false,
        };
        server.restart()?;
        Ok(server)
    }

    /// Returns the process, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Tells whether the process is there, stopped or not.
    pub fn is_running(&mut self) -> bool {
        let running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        self.child.as_mut().is_some_and(running)
    }

    /// Returns how the process ended, once it has by itself or as it was
    /// [asked to](Self::ask_to_end).
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = |child: &mut Child| child.try_wait().ok().flatten();
        self.child.as_mut().and_then(ended)
    }

    /// Returns where the server logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.launch.folder.join(format!("{}.log", self.launch.name))
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn kill9(&mut self) -> Result<(), ServerError> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        // `kill` and `wait` know of a process that has ended already.
        let ended = child.kill().and_then(|()| child.wait());
        ended.map(|_| ()).map_err(self.failed("killing"))
    }

    /// Stops the process (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn stop(&mut self) -> Result<(), ServerError> {
        self.signal(Signal::STOP)
    }

    /// Lets a stopped process go on (SIGCONT).
    ///
    /// # Errors
    /// Where it does not run.
    pub fn cont(&mut self) -> Result<(), ServerError> {
        self.signal(Signal::CONT)
    }

    /// Asks the process to end (SIGTERM) and does not wait for it.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn ask_to_end(&mut self) -> Result<(), ServerError> {
        self.signal(Signal::TERM)?;
        self.asked = true;
        // A stopped one sees no signal but this and SIGKILL.
        self.signal(Signal::CONT)
    }

    /// Ends the process: SIGTERM, unless it was [asked to end](Self::ask_to_end) before, and SIGKILL
    /// where it takes longer than [`END`].
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn terminate(&mut self) -> Result<(), ServerError> {
        if self.is_running() {
            if !self.asked {
                self.ask_to_end()?;
            }
            let end = Instant::now() + END;
            while self.is_running() && Instant::now() < end {
                sleep(POLL);
            }
        }
        self.kill9()
    }

    /// Starts the server again, with the same port and data; ends it before if it runs.
    ///
    /// # Errors
    /// Where it does not start or does not answer within a minute.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.terminate()?;
        let setpriv = find("setpriv", "util-linux")?;
        let log = self.log();
        let opened = OpenOptions::new().create(true).append(true).open(&log);
        let out = opened.map_err(self.failed("logging of"))?;
        let errors = out.try_clone().map_err(self.failed("logging of"))?;
        let mut command = Command::new(setpriv);
        command
            .args(["--pdeathsig", self.launch.with_owner, "--"])
            .arg(&self.launch.program)
            .args(&self.launch.arguments)
            .current_dir(&self.launch.folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors);
        for (name, _) in std::env::vars_os() {
            // What is meant for the owner is not meant for a node that it starts.
            if name.to_string_lossy().starts_with("PARLOR_") {
                command.env_remove(name);
            }
        }
        // Ctrl-C at a terminal reaches the owner alone, who ends the others in order.
        command.process_group(0);
        self.child = Some(spawn(command).map_err(self.failed("starting"))?);
        self.asked = false;
        self.wait_until_ready()
    }

    /// Sends a signal. The process cannot be another's: while it is not waited for, its number is
    /// not given away.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), ServerError> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        let sent = match pid.and_then(Pid::from_raw) {
            Some(pid) if self.is_running() => kill_process(pid, signal).map_err(io::Error::from),
            _ => Err(io::Error::other("it does not run")),
        };
        sent.map_err(self.failed("sending a signal to"))
    }

    fn wait_until_ready(&mut self) -> Result<(), ServerError> {
        let end = Instant::now() + START;
        loop {
            let pid = self.pid().unwrap_or_default();
            let ready = (self.launch.ready)(pid).is_ok();
            // Asked after the answer: one that came from another process says nothing of ours.
            if !self.is_running() {
                self.kill9()?;
                return Err(self.has_ended());
            }
            if ready {
                return Ok(());
            }
            if Instant::now() > end {
                self.kill9()?;
                return Err(ServerError::Silent {
                    name: self.launch.name.clone(),
                    tail: tail(&self.log()),
                    log: self.log(),
                });
            }
            sleep(POLL);
        }
    }

    fn has_ended(&self) -> ServerError {
        ServerError::Ended {
            name: self.launch.name.clone(),
            tail: tail(&self.log()),
            log: self.log(),
        }
    }

    fn failed(&self, what: &str) -> impl FnOnce(io::Error) -> ServerError + use<> {
        ServerError::io(format!("{what} {}", self.launch.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.terminate();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("name", &self.launch.name)
            .field("folder", &self.launch.folder)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// Starts a server, with another port where one was taken meanwhile.
pub(crate) fn with_free_ports<T>(
    start: impl Fn() -> Result<T, ServerError>,
) -> Result<T, ServerError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match start() {
            Err(ServerError::Ended { tail, .. }) if tries < 5 && tail.contains("in use") => {}
            result => return result,
        }
    }
}

/// Makes a folder, whose path does not depend on where a process runs.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, ServerError> {
    let made = fs::create_dir_all(path).and_then(|()| fs::canonicalize(path));
    made.map_err(ServerError::io(format!("making {}", path.display())))
}

/// Writes a file that its owner alone may read.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), ServerError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file: File| file.write_all(text.as_bytes()));
    written.map_err(ServerError::io(format!("writing {}", path.display())))
}

/// Returns the last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    lines.get(from..).unwrap_or_default().join("\n")
}
