//! TLS from the real program: its certificates, and its client.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod chat_world;
mod program_world;

use std::collections::VecDeque;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_std::{future, task};
use parlor_transport_tcp::{Arrival, FrameReader, FrameWriter, TlsConnector, connect_tls};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tempfile::TempDir;

use chat_world::{Chat, parlor};
use program_world::{Client, PASSWORD, Server, command, finished, poll};

const HANG: Duration = Duration::from_secs(60);

/// A client that speaks TLS.
struct TlsClient {
    reader: FrameReader,
    writer: FrameWriter,
    frames: VecDeque<Value>,
    requests: u64,
}

impl TlsClient {
    async fn connect(port: u16, believes: &Path) -> std::io::Result<Self> {
        let connector = TlsConnector::private(believes).unwrap();
        let connection = connect_tls(&format!("localhost:{port}"), &connector, HANG).await?;
        let (reader, writer) = connection.split();
        Ok(Self {
            reader,
            writer,
            frames: VecDeque::new(),
            requests: 0,
        })
    }

    /// Sends a request and returns its `ok`; drops the events before it.
    async fn ok(&mut self, mut request: Value) -> Value {
        self.requests += 1;
        request["id"] = json!(self.requests);
        let line = format!("{request}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let written = self.writer.write_some(rest).await.unwrap();
            rest = &rest[written..];
        }
        loop {
            let mut frame = self.read().await;
            if frame["id"] == request["id"] {
                assert!(frame["ok"].is_object(), "{request}: {frame}");
                return frame["ok"].take();
            }
        }
    }

    async fn read(&mut self) -> Value {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return frame;
            }
            let frames = &mut self.frames;
            let take = |frame: &[u8]| frames.push_back(serde_json::from_slice(frame).unwrap());
            let arrival = future::timeout(HANG, self.reader.read(take)).await;
            assert_eq!(arrival.expect("it hangs").unwrap(), Arrival::Frames);
        }
    }
}

/// Makes a certificate for this machine in a folder's `NAME.pem`, and its key in `NAME.key`.
fn certify(folder: &Path, name: &str, until: i32) {
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(2001, 1, 1);
    parameters.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let pem = parameters.self_signed(&key).unwrap().pem();
    fs::write(folder.join(format!("{name}.pem")), pem).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// Puts a certificate and a key where the server looks for them.
fn install(folder: &Path, certificate: &str, key: &str) {
    let copy = |from: String, to: &str| {
        fs::copy(folder.join(from), folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join(to)).unwrap();
    };
    copy(format!("{certificate}.pem"), "cert.pem");
    copy(format!("{key}.key"), "key.pem");
}

const SERVE: [&str; 6] = [
    "--tls-listen",
    "127.0.0.1:0",
    "--tls-cert",
    "cert.pem",
    "--tls-key",
    "key.pem",
];

/// Returns where a server listens with TLS.
fn tls_port(server: &Server) -> u16 {
    let (_, rest) = server
        .ready
        .split_once("TLS on 127.0.0.1:")
        .expect("a port");
    rest.split(',').next().unwrap().parse().unwrap()
}

/// Tells whether who believes a certificate gets through.
fn is_shown(port: u16, certificate: &Path) -> bool {
    task::block_on(TlsClient::connect(port, certificate)).is_ok()
}

/// Says something again and again over one connection, until it is told to stop.
async fn talk(
    port: u16,
    believes: PathBuf,
    number: usize,
    progress: Sender<()>,
    stopped: Receiver<()>,
) {
    let mut client = TlsClient::connect(port, &believes).await.unwrap();
    let name = format!("ada{number}");
    let register = json!({"op": "register", "name": name, "password": PASSWORD});
    client.ok(register).await;
    let login = json!({"op": "login", "name": name, "password": PASSWORD});
    client.ok(login).await;
    let group = client.ok(json!({"op": "group_create", "name": name})).await;
    while !stopped.is_closed() {
        let key = client.requests.to_string();
        let to = json!({"group": group["group"]});
        let send = json!({"op": "send", "to": to, "key": key, "text": "tick"});
        client.ok(send).await;
        progress.send(()).await.unwrap();
        task::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_certificate_is_renewed_under_load_without_a_dropped_connection() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["old", "new", "newest"] {
        certify(folder.path(), name, 2999);
    }
    install(folder.path(), "old", "old");
    // Where the logs go is seen while it runs.
    let mut shell = Command::new("sh");
    shell
        .current_dir(folder.path())
        .args(["-c", "exec \"$0\" serve --listen 127.0.0.1:0 \"$@\" 2>log"])
        .arg(env!("CARGO_BIN_EXE_parlor"))
        .args(SERVE);
    let mut server = Server::spawn(&mut shell);
    let port = tls_port(&server);
    let logged = |text: &str| {
        poll(text, || {
            fs::read_to_string(path("log"))
                .unwrap()
                .contains(text)
                .then_some(())
        });
    };

    let (stop, stopped) = async_channel::bounded::<()>(1);
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let (progress, made) = async_channel::unbounded();
            let client = talk(port, path("old.pem"), number, progress, stopped.clone());
            (task::spawn(client), made)
        })
        .collect();
    // Each connection works on the same as ever, from now on.
    let all_work = || {
        for (_, made) in &clients {
            while made.try_recv().is_ok() {}
            for _ in 0..3 {
                let more = task::block_on(future::timeout(HANG, made.recv()));
                more.expect("it hangs").expect("it was dropped");
            }
        }
    };
    all_work();
    for (name, before) in [("new", "old"), ("newest", "new")] {
        install(folder.path(), name, name);
        server.signal("HUP");
        let shown = path(&format!("{name}.pem"));
        poll("the new certificate", || {
            is_shown(port, &shown).then_some(())
        });
        assert!(!is_shown(port, &path(&format!("{before}.pem"))));
        all_work();
    }

    install(folder.path(), "new", "old");
    server.signal("HUP");
    logged("the key in key.pem does not fit the certificate in cert.pem");
    fs::remove_file(path("key.pem")).unwrap();
    server.signal("HUP");
    logged("cannot read key.pem");
    assert!(is_shown(port, &path("newest.pem")));
    all_work();

    drop((stop, stopped));
    for (client, _made) in clients {
        task::block_on(future::timeout(HANG, client)).expect("it hangs");
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_certificate_that_cannot_be_used_is_no_start() {
    let folder = TempDir::new().unwrap();
    certify(folder.path(), "good", 2999);
    certify(folder.path(), "other", 2999);
    certify(folder.path(), "expired", 2002);
    for (certificate, key, said) in [
        (
            "good.pem",
            "other.key",
            "the key in other.key does not fit the certificate in good.pem",
        ),
        (
            "expired.pem",
            "expired.key",
            "the certificate in expired.pem expired on 2002-01-01",
        ),
        ("nowhere.pem", "good.key", "cannot read nowhere.pem"),
        ("good.key", "good.key", "good.key holds no certificate"),
        ("good.pem", "good.pem", "good.pem holds no private key"),
    ] {
        let mut serve = command(folder.path());
        serve.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            certificate,
        ]);
        let (code, out, complaint) = finished(serve.args(["--tls-key", key]));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{complaint}");
        assert!(complaint.starts_with("parlor: "), "{complaint}");
        assert!(complaint.contains(said), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}

#[test]
fn plain_and_tls_stand_side_by_side_or_alone() {
    let folder = TempDir::new().unwrap();
    certify(folder.path(), "good", 2999);
    install(folder.path(), "good", "good");
    let certificate = folder.path().join("cert.pem");
    let server = Server::start(folder.path(), &SERVE);
    let mut plain = Client::connect(server.port);
    plain.register_and_login("ada");
    task::block_on(async {
        let mut client = TlsClient::connect(tls_port(&server), &certificate)
            .await
            .unwrap();
        let login = json!({"op": "login", "name": "ada", "password": PASSWORD});
        assert_eq!(client.ok(login).await["name"], "ada");
    });
    drop(server);

    let mut serve = parlor();
    serve
        .current_dir(folder.path())
        .args(["serve", "--listen", "none"]);
    let mut child = serve
        .args(SERVE)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut ready).unwrap();
    let (_, rest) = ready
        .split_once("listening with TLS on 127.0.0.1:")
        .expect(&ready);
    let port: u16 = rest.split(',').next().unwrap().parse().unwrap();
    let shown = is_shown(port, &certificate);
    // Who does not speak TLS gets no answer of the chat.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::io::Write::write_all(&mut stream, b"{\"id\":1,\"op\":\"ping\"}\n").unwrap();
    let mut answer = Vec::new();
    let _either = std::io::Read::read_to_end(&mut stream, &mut answer);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(shown);
    assert!(!answer.contains(&b'{'), "{answer:?}");
}

#[test]
fn connections_in_their_handshake_count_and_are_cut() {
    let folder = TempDir::new().unwrap();
    certify(folder.path(), "good", 2999);
    install(folder.path(), "good", "good");
    let settings = "limits = { connections = 2 }\ntimeouts = { handshake_seconds = 5 }\n";
    let server = Server::start_with(folder.path(), settings, &SERVE);
    let silent: Vec<TcpStream> = (0..2)
        .map(|_| TcpStream::connect(("127.0.0.1", tls_port(&server))).unwrap())
        .collect();
    // Both count, once they are accepted; until then there is room for this one.
    poll("there is no room", || {
        let mut client = Client::connect(server.port);
        let first = client.ask_or_end(&json!({"id": 1, "op": "ping"}));
        first
            .is_none_or(|frame| frame["code"] == "full")
            .then_some(())
    });
    for mut stream in silent {
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(HANG)).unwrap();
        let _either = std::io::Read::read_to_end(&mut stream, &mut rest);
    }
    poll("there is room again", || {
        let mut client = Client::connect(server.port);
        let first = client.ask_or_end(&json!({"id": 1, "op": "ping"}));
        first
            .is_some_and(|frame| frame["ok"].is_object())
            .then_some(())
    });
}

#[test]
fn a_certificate_to_try_out_is_made_and_chatted_with() {
    let folder = TempDir::new().unwrap();
    let dev_cert = || finished(command(folder.path()).args(["dev-cert"]));
    let (code, out, errors) = dev_cert();
    assert_eq!(code, Some(0), "{errors}");
    let serve = "parlor serve --tls-cert ./cert.pem --tls-key ./key.pem";
    let chat = "parlor chat --server localhost:6443 --tls --ca ./cert.pem";
    assert!(out.contains(serve) && out.contains(chat), "{out}");
    let certificate = folder.path().join("cert.pem");
    let key = folder.path().join("key.pem");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
    let (code, out, errors) = dev_cert();
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains("cannot write ./key.pem"), "{errors}");
    fs::remove_file(&key).unwrap();
    let (code, _, errors) = dev_cert();
    assert_eq!(code, Some(1));
    assert!(errors.contains("cannot write ./cert.pem"), "{errors}");
    assert!(!key.exists(), "a key without its certificate");
    assert_eq!(fs::read(&certificate).unwrap(), before.0);
    fs::write(&key, before.1).unwrap();

    let server = Server::start(folder.path(), &SERVE);
    let port = tls_port(&server);
    let address = format!("localhost:{port}");
    let ca = certificate.display().to_string();
    let ann = ["--name", "ann", "--register", "--tls", "--ca", &ca];
    let mut chat = Chat::start(&address, &ann);
    chat.expect("online");
    // It comes back over TLS, too.
    let listen = format!("127.0.0.1:{port}");
    drop(server);
    chat.expect_one("reconnecting", |line| line.starts_with("reconnecting "));
    let mut again = SERVE;
    again[1] = &listen;
    let server = Server::start(folder.path(), &again);
    chat.expect("online");
    let (status, _, errors) = chat.finish();
    assert!(status.success(), "{errors}");

    for (address, arguments, said) in [
        (
            &address,
            &["--tls"][..],
            "from no authority that is believed here",
        ),
        (
            &format!("127.0.0.1:{}", server.port),
            &["--tls", "--ca", &ca],
            "does not speak TLS",
        ),
        (
            &address,
            &["--tls", "--ca", "nowhere.pem"],
            "cannot read nowhere.pem",
        ),
    ] {
        let arguments = [&["--name", "ann"], arguments].concat();
        let (status, _, errors) = Chat::start(address, &arguments).finish();
        assert_eq!(status.code(), Some(1));
        assert!(errors.contains(said), "{errors}");
    }
}
