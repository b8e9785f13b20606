//! nginx.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::error::ServerError;
use crate::port::free_port;
use crate::program::{file, find};
use crate::server::{Launch, Server, folder, with_free_ports, write};

/// Returns the module for `stream`, as a configuration's `load_module` wants it.
///
/// # Errors
/// Where it is missing.
pub fn stream_module() -> Result<PathBuf, ServerError> {
    file(
        "/usr/lib/nginx/modules/ngx_stream_module.so",
        "libnginx-mod-stream",
    )
}

/// The file that operators copy.
const BALANCER: &str = include_str!("../../deploy/nginx.conf");

/// Returns the configuration that operators copy, `deploy/nginx.conf`, with other addresses: it
/// listens on a port of 127.0.0.1, in front of nodes on theirs.
#[must_use]
pub fn balancer(port: u16, nodes: &[u16]) -> String {
    let host = Ipv4Addr::LOCALHOST;
    let mut lines = Vec::new();
    for line in BALANCER.lines() {
        if let Some(rest) = line.strip_prefix("        listen 6000 ") {
            lines.push(format!("        listen {host}:{port} {rest}"));
        } else if let Some(options) = line.strip_prefix("        server 10.0.0.11:6000 ") {
            let each = |node: &u16| format!("        server {host}:{node} {options}");
            lines.extend(nodes.iter().map(each));
        } else if !line.starts_with("        server 10.0.0.") {
            lines.push(line.to_owned());
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A private nginx.
#[derive(Debug)]
pub struct Nginx {
    /// The master process. Ended by SIGTERM it ends its workers; killed, it leaves them until their
    /// connections are gone.
    pub server: Server,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    /// Starts nginx in a folder with the configuration that `configure` makes for a port of
    /// 127.0.0.1, on which it has to listen. The configuration says nothing of `daemon`, `pid`,
    /// `user` and the main `error_log`, which are given.
    ///
    /// # Errors
    /// Where a program is missing, or nginx refuses the configuration or does not start.
    pub fn start(path: &Path, configure: impl Fn(u16) -> String) -> Result<Self, ServerError> {
        let program = find("nginx", "nginx")?;
        let folder = folder(path)?;
        with_free_ports(|| {
            let port = free_port()?;
            write(&folder.join("nginx.conf"), &configure(port))?;
            check(&program, &folder)?;
            let pid_file = folder.join("nginx.pid");
            let server = Server::start(Launch {
                name: "nginx".to_owned(),
                program: program.clone(),
                arguments: arguments(&folder),
                folder: folder.clone(),
                with_owner: "TERM",
                ready: Box::new(move |pid| listens(&pid_file, pid, port)),
            })?;
            Ok(Self {
                server,
                folder: folder.clone(),
                port,
            })
        })
    }

    /// Returns the TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets nginx read another configuration: connections go on, new ones follow it soon.
    ///
    /// # Errors
    /// Where nginx refuses it; then nothing changes.
    pub fn reload(&mut self, configuration: &str) -> Result<(), ServerError> {
        let path = self.folder.join("nginx.conf");
        let before = std::fs::read_to_string(&path).map_err(ServerError::io("reading"))?;
        write(&path, configuration)?;
        let checked = find("nginx", "nginx").and_then(|program| check(&program, &self.folder));
        if checked.is_err() {
            write(&path, &before)?;
            return checked;
        }
        self.server.signal(Signal::HUP)
    }
}

fn arguments(folder: &Path) -> Vec<String> {
    let folder = folder.display();
    // Workers of a master that runs as root would otherwise be a user who cannot read the folder.
    let user = if rustix::process::geteuid().is_root() {
        "user root; "
    } else {
        ""
    };
    vec![
        "-p".to_owned(),
        folder.to_string(),
        "-c".to_owned(),
        format!("{folder}/nginx.conf"),
        "-e".to_owned(),
        "stderr".to_owned(),
        "-g".to_owned(),
        format!("{user}daemon off; pid {folder}/nginx.pid; error_log stderr;"),
    ]
}

/// Lets nginx say what is wrong with a configuration.
fn check(program: &Path, folder: &Path) -> Result<(), ServerError> {
    let output = Command::new(program)
        .args(arguments(folder))
        .args(["-t", "-q"])
        .stdin(Stdio::null())
        .output()
        .map_err(ServerError::io("running nginx"))?;
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // Checking binds the ports as well: that is left to the start, which tries others.
    if output.status.success() || reason.contains("Address already in use") {
        return Ok(());
    }
    Err(ServerError::Refused {
        name: "nginx".to_owned(),
        reason,
    })
}

/// Connects, once nginx has written its number: it does so when it has bound its ports, for which it
/// tries for seconds.
fn listens(pid_file: &Path, pid: u32, port: u16) -> io::Result<()> {
    if std::fs::read_to_string(pid_file)?.trim() != pid.to_string() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{BALANCER, balancer};

    #[test]
    fn the_balancer_is_the_committed_one_with_other_addresses() {
        let text = balancer(7000, &[7001, 7002, 7003, 7004]);
        assert!(text.contains("\n        listen 127.0.0.1:7000 "), "{text}");
        for port in 7001..=7004 {
            let line = format!("\n        server 127.0.0.1:{port} weight=1 ");
            assert_eq!(text.matches(&line).count(), 1, "{text}");
        }
        assert_eq!(text.matches("\n        server ").count(), 4, "{text}");
        assert_eq!(text.lines().count(), BALANCER.lines().count() + 1, "{text}");
        assert_eq!(
            balancer(7000, &[7001]).matches("10.0.0.1").count(),
            BALANCER.matches("10.0.0.1").count() - 3
        );
    }
}
