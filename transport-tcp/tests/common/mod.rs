//! What the tests with real sockets share.

use std::time::Duration;

use async_std::future;
use async_std::net::TcpStream;
use parlor_transport_tcp::{Arrival, FrameReader, FrameWriter, Listener, ListenerOptions};

/// Awaits `work`, or fails when it hangs.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    future::timeout(Duration::from_secs(60), work)
        .await
        .expect("this hangs")
}

/// Listens on a free port.
pub(crate) async fn listen(options: ListenerOptions) -> Listener {
    Listener::bind("127.0.0.1:0", options).await.unwrap()
}

/// Connects a bare socket to the listener and accepts it.
#[allow(dead_code, reason = "not all tests that share this module use it")]
pub(crate) async fn pair(listener: &Listener) -> (TcpStream, FrameReader, FrameWriter) {
    let peer = TcpStream::connect(listener.local_addr()).await.unwrap();
    let connection = within(listener.accept()).await;
    assert_eq!(connection.peer, peer.local_addr().unwrap());
    let (reader, writer) = connection.split();
    (peer, reader, writer)
}

/// Reads until `count` frames have come.
pub(crate) async fn read_frames(reader: &mut FrameReader, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let arrival = within(reader.read(|frame| frames.push(frame.to_vec()))).await;
        assert_eq!(arrival.unwrap(), Arrival::Frames);
    }
    assert_eq!(frames.len(), count);
    frames
}

/// Writes all of `bytes`.
pub(crate) async fn write_all(writer: &mut FrameWriter, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = within(writer.write_some(bytes)).await.unwrap();
        assert!(written > 0);
        bytes = &bytes[written..];
    }
}
