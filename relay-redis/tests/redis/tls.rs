//! TLS.

use std::path::Path;
use std::process::{Command, Stdio};

use parlor_relay_redis::{OpenError, Options};
use parlor_servers::free_port;

use crate::world::{Event, Node, changed, redis, user};

/// Makes an authority and a certificate for 127.0.0.1.
fn certify(folder: &Path) {
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    for command in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        "req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr",
        "x509 -req -days 2 -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out redis.crt",
    ] {
        let status = Command::new("openssl")
            .args(command.split(' '))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let status = status.unwrap_or_else(|error| panic!("install the package openssl: {error}"));
        assert!(status.success(), "openssl {command}");
    }
}

#[test]
fn certificates_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let port = free_port().unwrap();
    let (_folder, _redis) = redis(&[
        ("tls-port", &port.to_string()),
        ("tls-cert-file", &path("redis.crt")),
        ("tls-key-file", &path("redis.key")),
        ("tls-ca-cert-file", &path("ca.crt")),
        ("tls-auth-clients", "no"),
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    let trusting = Options {
        roots: Some(std::fs::read(path("ca.crt")).unwrap()),
        ..Options::default()
    };
    let node = Node::try_open(&url, trusting.clone()).unwrap();
    node.until_event(&Event::Up);
    node.subscribe(1, &[user(1)]);
    node.publish(user(1), changed(1));
    node.until_event(&Event::Relayed(changed(1)));
    // The public authorities know nothing of this one.
    let error = Node::try_open(&url, Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    // The certificate is for an address, not for this name.
    let name = format!("rediss://localhost:{port}");
    let error = Node::try_open(&name, trusting).err().unwrap();
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
}
