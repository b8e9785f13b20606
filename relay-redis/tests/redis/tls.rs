//! TLS.

use parlor_relay_redis::{OpenError, Options};
use parlor_servers::{Certificate, free_port};

use crate::world::{Event, Node, changed, redis, user};

#[test]
fn certificates_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(folder.path()).unwrap();
    let [authority, public, key] = [
        &certificate.authority,
        &certificate.certificate,
        &certificate.key,
    ]
    .map(|path| path.display().to_string());
    let port = free_port().unwrap();
    let (_folder, _redis) = redis(&[
        ("tls-port", &port.to_string()),
        ("tls-cert-file", &public),
        ("tls-key-file", &key),
        ("tls-ca-cert-file", &authority),
        ("tls-auth-clients", "no"),
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    let trusting = Options {
        roots: Some(std::fs::read(&authority).unwrap()),
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
