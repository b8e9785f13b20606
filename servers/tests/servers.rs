//! Each server starts, answers, comes back on the same port, and is gone after its end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use parlor_servers::{
    MariaDb, Nginx, Redis, RedisClient, RedisCluster, RedisSentinel, Reply, Server, ServerError,
    free_port, stream_module,
};
use tempfile::TempDir;

/// How long a test waits before it counts as hung. Sentinels make a former master a replica only after
/// it has answered them within a second each time for eight seconds, which takes a busy machine long.
const HUNG: Duration = Duration::from_secs(180);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + HUNG;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Tells whether a process is there and is no zombie.
fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn refuses(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}

fn pid(server: &Server) -> u32 {
    server.pid().unwrap()
}

#[test]
fn mariadb_keeps_what_was_committed() {
    let folder = TempDir::new().unwrap();
    let mut database = MariaDb::start(folder.path(), &[]).unwrap();
    let url = database.create_database("chat").unwrap();
    let port = database.port();
    assert!(url.starts_with("mysql://parlor:"), "{url}");
    assert!(url.ends_with(&format!("@127.0.0.1:{port}/chat")), "{url}");
    let rows = "CREATE TABLE t (n INT) ENGINE=InnoDB; INSERT INTO t VALUES (1), (2)";
    database.execute("chat", rows).unwrap();
    let first = pid(&database.server);

    database.server.kill9().unwrap();
    assert!(!lives(first));
    assert!(refuses(port));
    assert!(database.execute("chat", "SELECT 1").is_err());
    database.server.restart().unwrap();
    assert_eq!(
        database.execute("chat", "SELECT n FROM t").unwrap(),
        "1\n2\n"
    );
    assert_eq!(database.url("chat"), url, "the same port and password");

    let refused = database.execute("chat", "SELECT nonsense").unwrap_err();
    assert!(refused.to_string().contains("nonsense"), "{refused}");
    let durable = "SELECT @@innodb_flush_log_at_trx_commit";
    assert_eq!(database.execute("", durable).unwrap(), "1\n");
    let second = pid(&database.server);
    drop(database);
    assert!(!lives(second));

    // Another owner finds the data, with other options and another password.
    let again = MariaDb::start(folder.path(), &["--character-set-server=latin1"]).unwrap();
    assert_eq!(
        again.execute("chat", "SELECT SUM(n) FROM t").unwrap(),
        "3\n"
    );
    let charset = again.execute("", "SELECT @@character_set_server").unwrap();
    assert_eq!(charset, "latin1\n");
    assert_ne!(again.url("chat"), url);
}

#[test]
fn mariadb_lets_root_in_through_the_socket_alone() {
    let folder = TempDir::new().unwrap();
    let database = MariaDb::start(folder.path(), &[]).unwrap();
    let output = Command::new("mariadb")
        .args([
            "--no-defaults",
            "--protocol=tcp",
            "--host=127.0.0.1",
            "--user=root",
        ])
        .args(["--execute=SELECT 1", &format!("--port={}", database.port())])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Access denied"), "{text}");
}

#[test]
fn redis_stops_and_goes_on() {
    let folder = TempDir::new().unwrap();
    let options = [("maxmemory", "16mb")];
    let mut redis = Redis::start(folder.path(), Some("open sesame"), &options).unwrap();
    let port = redis.port();
    assert_eq!(
        redis.url(),
        format!("redis://:open sesame@127.0.0.1:{port}")
    );
    let ping = |password| {
        let mut client = RedisClient::connect(port, password)?;
        client.command(&["PING"])
    };
    let pong = Reply::Text("PONG".to_owned());
    assert_eq!(ping(Some("open sesame")).unwrap(), pong);
    assert!(ping(None).unwrap_err().to_string().contains("NOAUTH"));
    assert!(
        ping(Some("wrong"))
            .unwrap_err()
            .to_string()
            .contains("WRONGPASS")
    );
    let limit = RedisClient::connect(port, Some("open sesame"))
        .and_then(|mut client| client.command(&["CONFIG", "GET", "maxmemory"]))
        .unwrap();
    let texts = ["maxmemory", "16777216"].map(|text| Reply::Text(text.to_owned()));
    assert_eq!(limit, Reply::List(texts.into()));

    redis.server.stop().unwrap();
    assert!(redis.server.is_running());
    let waiting = spawn(move || RedisClient::connect(port, Some("open sesame")).is_ok());
    let state = format!("/proc/{}/stat", pid(&redis.server));
    let stopped = || std::fs::read_to_string(&state).unwrap().contains(") T");
    wait_until("it is stopped", stopped);
    redis.server.cont().unwrap();
    assert!(waiting.join().unwrap(), "the answer comes after all");

    redis.server.restart().unwrap();
    assert_eq!(ping(Some("open sesame")).unwrap(), pong);
    redis.server.stop().unwrap();
    let last = pid(&redis.server);
    drop(redis);
    assert!(!lives(last), "a stopped one ends too");
    assert!(refuses(port));
}

#[test]
fn a_redis_cluster_shares_the_slots() {
    let folder = TempDir::new().unwrap();
    let mut cluster = RedisCluster::start(folder.path()).unwrap();
    let ports = cluster.ports().to_vec();
    let set = |port: u16, key: &str| {
        let mut client = RedisClient::connect(port, None)?;
        client.command(&["SET", key, "1"])
    };
    // The slot of `foo` is 12182: the third master's.
    assert_eq!(set(ports[2], "foo").unwrap().text(), "OK");
    let moved = set(ports[0], "foo").unwrap_err().to_string();
    assert_eq!(moved, format!("MOVED 12182 127.0.0.1:{}", ports[2]));

    cluster.masters[1].kill9().unwrap();
    assert!(cluster.wait_until_whole().is_err(), "one does not answer");
    cluster.masters[1].restart().unwrap();
    cluster.wait_until_whole().unwrap();
    assert_eq!(cluster.ports(), ports);
    let pids: Vec<u32> = cluster.masters.iter().map(pid).collect();
    drop(cluster);
    assert!(!pids.into_iter().any(lives));
}

#[test]
fn sentinels_make_the_replica_the_master() {
    let folder = TempDir::new().unwrap();
    let mut pair = RedisSentinel::start(folder.path(), None).unwrap();
    let [first, second] = pair.server_ports();
    assert_eq!(pair.master_port().unwrap(), first);
    pair.master.kill9().unwrap();
    wait_until("the replica is the master", || {
        pair.master_port().unwrap() == second
    });
    pair.master.restart().unwrap();
    let role = || {
        // A server that is made a replica ends its connections.
        let client = RedisClient::connect(first, None);
        client.and_then(|mut client| client.command(&["ROLE"]))
    };
    let replica = Reply::Text("slave".to_owned());
    wait_until(
        "the former master follows",
        || matches!(role(), Ok(Reply::List(parts)) if parts.first() == Some(&replica)),
    );
}

/// A balancer of one server.
fn stream(to: u16) -> impl Fn(u16) -> String {
    let module = stream_module().unwrap();
    move |port| {
        format!(
            "load_module {};\nevents {{}}\n\
             stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{to}; }} }}\n",
            module.display()
        )
    }
}

/// Says one line to whoever connects.
fn greeter(line: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(move || {
        for stream in listener.incoming() {
            // Who has gone away again needs none.
            let _ = stream.and_then(|mut stream| stream.write_all(line.as_bytes()));
        }
    });
    port
}

fn greeting(port: u16) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        stream.set_read_timeout(Some(HUNG)).unwrap();
        let _ = stream.read_to_string(&mut text);
    }
    text
}

#[test]
fn nginx_balances_and_reads_its_configuration_again() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (greeter("one"), greeter("other"));
    let mut nginx = Nginx::start(folder.path(), stream(one)).unwrap();
    let port = nginx.port();
    assert_eq!(greeting(port), "one");

    let wrong = nginx.reload("events {} nonsense;").unwrap_err();
    assert!(wrong.to_string().contains("nonsense"), "{wrong}");
    nginx.reload(&stream(other)(port)).unwrap();
    wait_until("the new configuration holds", || greeting(port) == "other");

    nginx.server.restart().unwrap();
    assert_eq!(greeting(port), "other");
    drop(nginx);
    wait_until("nobody listens", || refuses(port));

    let refused = Nginx::start(folder.path(), |_| "nonsense;".to_owned()).unwrap_err();
    assert!(matches!(refused, ServerError::Refused { .. }), "{refused}");
}

#[test]
fn a_server_that_ends_at_once_shows_its_log() {
    let folder = TempDir::new().unwrap();
    let error = MariaDb::start(folder.path(), &["--no-such-option"]).unwrap_err();
    assert!(matches!(error, ServerError::Ended { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn a_server_that_was_asked_to_end_says_how_it_did() {
    let folder = TempDir::new().unwrap();
    let mut redis = Redis::start(folder.path(), None, &[]).unwrap();
    assert_eq!(redis.server.ended(), None);
    redis.server.ask_to_end().unwrap();
    wait_until("it has ended", || redis.server.ended().is_some());
    assert_eq!(redis.server.ended().unwrap().code(), Some(0));
    redis.server.restart().unwrap();
    assert_eq!(redis.server.ended(), None);
}

#[test]
fn a_port_that_is_taken_at_the_start_is_no_answer() {
    let folder = TempDir::new().unwrap();
    let mut redis = Redis::start(folder.path(), None, &[]).unwrap();
    let port = redis.port();
    redis.server.kill9().unwrap();
    let _squatter = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = redis.server.restart().unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    assert_ne!(free_port().unwrap(), port);
}

/// Set for the child process of [`a_killed_owner_takes_its_servers_along`].
const CHILD: &str = "PARLOR_SERVERS_TEST_FOLDER";

#[test]
fn a_killed_owner_takes_its_servers_along() {
    if let Some(folder) = std::env::var_os(CHILD) {
        own_until_killed(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_killed_owner_takes_its_servers_along",
            "--nocapture",
        ])
        .env(CHILD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let pids: Vec<u32> = lines
        .find_map(|line| Some(line.unwrap().split_once("pids ")?.1.to_owned()))
        .unwrap()
        .split(' ')
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.iter().all(|pid| lives(*pid)));
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("its servers are gone", || {
        !pids.iter().any(|pid| lives(*pid))
    });
}

/// Starts servers on a thread that ends, which must not end them.
fn own_until_killed(folder: &Path) -> ! {
    let path = folder.to_owned();
    let start = move || {
        let redis = Redis::start(&path.join("redis"), None, &[]).unwrap();
        let nginx = Nginx::start(&path.join("nginx"), stream(1)).unwrap();
        (redis, nginx)
    };
    let (redis, nginx) = spawn(start).join().unwrap();
    println!("pids {} {}", pid(&redis.server), pid(&nginx.server));
    sleep(HUNG);
    panic!("nobody has killed this process");
}
