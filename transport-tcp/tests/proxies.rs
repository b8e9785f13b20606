//! Connections that a proxy hands on, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use async_std::future;
use async_std::io::{ReadExt, WriteExt};
use async_std::net::TcpStream;
use parlor_transport_tcp::{Arrival, Connection, Listener, ListenerOptions, ProxyOptions};

use common::{read_frames, within, write_all};

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 6000\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xcb\0\x71\x09\x0a\0\0\x01\xdc\x04\x17\x70\x04\0\x01\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const CLIENT: &str = "203.0.113.9:56324";
/// More than a connection that is served at once takes, however busy the machine.
const A_WHILE: Duration = Duration::from_millis(300);

/// Listens for proxies at `from`.
async fn listen(from: &str, change: impl FnOnce(&mut ProxyOptions)) -> Listener {
    let mut options = ListenerOptions::default();
    options.proxies.from = vec![from.parse().unwrap()];
    options.proxies.timeout = Duration::from_secs(600);
    change(&mut options.proxies);
    common::listen(options).await
}

async fn connect(listener: &Listener) -> TcpStream {
    TcpStream::connect(listener.local_addr()).await.unwrap()
}

/// Checks where a connection comes from and that its first frames are these.
async fn check(connection: Connection, peer: &TcpStream, origin: SocketAddr, frames: &[&[u8]]) {
    assert_eq!(connection.peer, peer.local_addr().unwrap());
    assert_eq!(connection.origin, origin);
    let (mut reader, mut writer) = connection.split();
    assert_eq!(read_frames(&mut reader, frames.len()).await, frames);
    write_all(&mut writer, b"answer\n").await;
}

/// Checks that the listener serves a proxy's connection.
async fn serves(listener: &Listener) {
    let mut peer = connect(listener).await;
    peer.write_all(&[V1, b"here\n"].concat()).await.unwrap();
    let connection = within(listener.accept()).await;
    check(connection, &peer, CLIENT.parse().unwrap(), &[b"here"]).await;
}

/// Waits until the other side has ended the connection.
async fn ended(mut peer: TcpStream) {
    let mut rest = Vec::new();
    // Whether by an end or by a reset depends on whether all was read.
    let _either = within(peer.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
}

#[async_std::test]
async fn a_trusted_proxy_tells_the_clients_address() {
    let listener = listen("127.0.0.0/8", |_| ()).await;
    for header in [V1, V2] {
        let stream = [header, b"one\ntwo\n"].concat();
        for cut in [
            0,
            1,
            15,
            16,
            header.len() - 1,
            header.len(),
            header.len() + 2,
        ] {
            let mut peer = connect(&listener).await;
            peer.set_nodelay(true).unwrap();
            let mut accepting = Box::pin(listener.accept());
            peer.write_all(&stream[..cut]).await.unwrap();
            // Lets the first piece arrive alone; should it not, the outcome is the same.
            let early = future::timeout(Duration::from_millis(20), &mut accepting).await;
            peer.write_all(&stream[cut..]).await.unwrap();
            let connection = match early {
                Ok(connection) => connection,
                Err(_) => within(accepting).await,
            };
            let origin = CLIENT.parse().unwrap();
            check(connection, &peer, origin, &[b"one", b"two"]).await;
            let mut answer = [0; 7];
            within(peer.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"answer\n");
        }
    }
}

#[async_std::test]
async fn a_proxy_that_names_nobody_is_the_client() {
    let listener = listen("127.0.0.1", |_| ()).await;
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut peer = connect(&listener).await;
        peer.write_all(&[header, b"one\n"].concat()).await.unwrap();
        let connection = within(listener.accept()).await;
        let origin = peer.local_addr().unwrap();
        check(connection, &peer, origin, &[b"one"]).await;
    }
}

#[async_std::test]
async fn a_header_from_anybody_else_ends_the_connection() {
    let listener = listen("10.0.0.0/8", |_| ()).await;
    for header in [V1, V2, LOCAL] {
        let mut peer = connect(&listener).await;
        peer.write_all(&[header, b"one\n"].concat()).await.unwrap();
        let (mut reader, _writer) = within(listener.accept()).await.split();
        let error = loop {
            let read = reader.read(|frame| panic!("{frame:?} was handed over"));
            match within(read).await {
                Ok(arrival) => assert_eq!(arrival, Arrival::Frames),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}

#[async_std::test]
async fn only_what_comes_first_is_taken_for_a_header() {
    let listener = listen("10.0.0.0/8", |_| ()).await;
    let mut peer = connect(&listener).await;
    peer.write_all(&[b"one\n", V1].concat()).await.unwrap();
    let connection = within(listener.accept()).await;
    let origin = peer.local_addr().unwrap();
    let line = V1.strip_suffix(b"\r\n").unwrap();
    check(connection, &peer, origin, &[b"one", line]).await;
}

#[async_std::test]
async fn an_ipv4_proxy_is_known_on_a_socket_of_ipv6() {
    let options = ListenerOptions {
        proxies: ProxyOptions {
            from: vec!["127.0.0.1".parse().unwrap()],
            ..ProxyOptions::default()
        },
        ..ListenerOptions::default()
    };
    let listener = Listener::bind("[::]:0", options).await.unwrap();
    let address = SocketAddr::new([127, 0, 0, 1].into(), listener.local_addr().port());
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(V1).await.unwrap();
    let connection = within(listener.accept()).await;
    assert!(connection.peer.is_ipv6(), "{}", connection.peer);
    assert_eq!(connection.origin, CLIENT.parse().unwrap());
}

#[async_std::test]
async fn who_sends_no_header_holds_up_nobody_and_is_given_up() {
    let listener = listen("127.0.0.1", |proxies| {
        proxies.timeout = Duration::from_secs(1);
    })
    .await;
    let silent = connect(&listener).await;
    let mut slow = connect(&listener).await;
    slow.write_all(&V1[..V1.len() - 1]).await.unwrap();
    serves(&listener).await;
    ended(silent).await;
    ended(slow).await;
    serves(&listener).await;
}

#[async_std::test]
async fn a_proxy_without_a_header_is_refused_at_once() {
    let listener = listen("127.0.0.1", |_| ()).await;
    for wrong in [
        b"{\"id\":1,\"op\":\"ping\"}\n".as_slice(),
        b"PROXY TCP4 no\r\n",
        &[0xff; 9000],
    ] {
        let mut peer = connect(&listener).await;
        peer.write_all(wrong).await.unwrap();
        serves(&listener).await;
        ended(peer).await;
    }
}

#[async_std::test]
async fn a_proxy_may_look_whether_somebody_listens() {
    let listener = listen("127.0.0.1", |_| ()).await;
    drop(connect(&listener).await);
    serves(&listener).await;
}

#[async_std::test]
async fn so_many_wait_for_their_headers_and_no_more() {
    let listener = listen("127.0.0.1", |proxies| proxies.pending = 2).await;
    let first = connect(&listener).await;
    let _second = connect(&listener).await;
    let mut third = connect(&listener).await;
    third.write_all(V1).await.unwrap();
    let mut accepting = Box::pin(listener.accept());
    let early = future::timeout(A_WHILE, &mut accepting).await;
    assert!(early.is_err(), "a third connection was taken");
    drop(first);
    let connection = within(accepting).await;
    assert_eq!(connection.peer, third.local_addr().unwrap());
}

#[async_std::test]
async fn with_the_listener_go_those_that_wait() {
    let listener = listen("127.0.0.1", |_| ()).await;
    let silent = connect(&listener).await;
    serves(&listener).await;
    drop(listener);
    ended(silent).await;
}
