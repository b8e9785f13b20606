//! Who is let in, and what is refused.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use parlor_relay_redis::{OpenError, Options};
use parlor_servers::{Redis, RedisClient};

use crate::world::{CLUSTER, Event, Node, changed, redis, user};

fn refused(url: &str) -> OpenError {
    match Node::try_open(url, Options::default()) {
        Ok(node) => panic!("{:?} was opened", node.relay),
        Err(error) => {
            let text = error.to_string();
            assert!(
                !text.contains("pass-word") && !text.contains('\n'),
                "{text}"
            );
            error
        }
    }
}

fn exchanges(url: &str) {
    let node = Node::open(url);
    node.subscribe(1, &[user(1)]);
    node.publish(user(1), changed(1));
    node.until_event(&Event::Relayed(changed(1)));
    assert!(!format!("{:?}", node.relay).contains("pass-word"));
}

#[test]
fn a_password_is_needed_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), Some("right-pass-word"), &[]).unwrap();
    exchanges(&redis.url());
    for user in ["", ":wrong-pass-word@", "nobody:pass-word@"] {
        let url = format!("redis://{user}127.0.0.1:{}", redis.port());
        let error = refused(&url);
        assert!(
            matches!(error, OpenError::Password { .. }),
            "{url}: {error}"
        );
    }
}

#[test]
fn a_user_needs_few_rights_but_these() {
    let (_folder, redis) = redis(&[]);
    let mut client = RedisClient::connect(redis.port(), None).unwrap();
    let mut user = |name, rules: &[&str]| {
        let rules = [
            &["ACL", "SETUSER", name, "on", ">pass-word", "resetchannels"],
            rules,
        ]
        .concat();
        client.command(&rules).unwrap();
        format!("redis://{name}:pass-word@127.0.0.1:{}", redis.port())
    };
    let rights = ["&parlor:*", "+@pubsub", "+@connection"];
    exchanges(&user("parlor", &rights));
    let own = format!("&parlor:{CLUSTER}:*");
    exchanges(&user("own", &[&own, "+@pubsub", "+@connection"]));
    for (name, rights) in [
        ("channels", ["&other:*", "+@pubsub", "+@connection"]),
        ("commands", ["&parlor:*", "+ping", "+@connection"]),
    ] {
        let error = refused(&user(name, &rights));
        assert!(
            matches!(error, OpenError::Permission { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn what_is_not_redis_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = refused(&format!("redis://127.0.0.1:{port}"));
    assert!(matches!(error, OpenError::NotRedis { .. }), "{error}");
    let error = refused(&format!("rediss://127.0.0.1:{port}"));
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
}

#[test]
fn a_single_server_is_neither_a_cluster_nor_a_sentinel() {
    let (_folder, redis) = redis(&[]);
    let error = refused(&format!("redis+cluster://127.0.0.1:{}", redis.port()));
    assert!(matches!(error, OpenError::NoCluster { .. }), "{error}");
    let error = refused(&format!("redis+sentinel://127.0.0.1:{}/main", redis.port()));
    assert!(matches!(error, OpenError::NoSentinel { .. }), "{error}");
}
