//! The transport over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use async_std::io::{ReadExt, WriteExt};
use async_std::net::TcpStream;
use async_std::task;
use futures::poll;
use parlor_transport_tcp::{
    Arrival, FrameReader, FrameWriter, Listener, ListenerOptions, append_frame, connect,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};

use common::{listen, pair, read_frames, within, write_all};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

#[async_std::test]
async fn many_frames_of_one_segment_come_together_and_in_order() {
    let listener = listen(ListenerOptions::default()).await;
    let (mut peer, mut reader, _writer) = pair(&listener).await;
    let sent: Vec<Vec<u8>> = (0..1000).map(|n| n.to_string().into_bytes()).collect();
    let mut stream = Vec::new();
    for frame in &sent {
        append_frame(&mut stream, frame);
    }
    peer.write_all(&stream).await.unwrap();
    assert_eq!(read_frames(&mut reader, 1000).await, sent);
}

#[async_std::test]
async fn frames_cut_at_any_byte_are_whole() {
    let stream = b"{\"id\":1}\r\n\n\r\n{\"id\":2}\n\xf0\x9f\x8e\x88\r\n";
    let frames = [b"{\"id\":1}".as_slice(), b"{\"id\":2}", b"\xf0\x9f\x8e\x88"];
    let listener = listen(ListenerOptions::default()).await;
    let (mut peer, mut reader, _writer) = pair(&listener).await;
    for cut in 1..stream.len() {
        let mut got = Vec::new();
        peer.write_all(&stream[..cut]).await.unwrap();
        let arrival = within(reader.read(|frame| got.push(frame.to_vec()))).await;
        assert_eq!(arrival.unwrap(), Arrival::Frames);
        peer.write_all(&stream[cut..]).await.unwrap();
        got.extend(read_frames(&mut reader, frames.len() - got.len()).await);
        assert_eq!(got, frames, "cut at {cut}");
    }
}

#[async_std::test]
async fn an_unfinished_line_is_dropped_at_the_end() {
    let listener = listen(ListenerOptions::default()).await;
    let (mut peer, mut reader, mut writer) = pair(&listener).await;
    peer.write_all(b"whole\npartial").await.unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut frames = Vec::new();
    while within(reader.read(|frame| frames.push(frame.to_vec())))
        .await
        .unwrap()
        != Arrival::End
    {}
    assert_eq!(frames, [b"whole"]);
    // It stays so, and what was asked can still be answered.
    assert_eq!(
        within(reader.read(|_| panic!("a frame"))).await.unwrap(),
        Arrival::End
    );
    write_all(&mut writer, b"answer\n").await;
    within(writer.close()).await;
    assert_eq!(rest_of(&mut peer).await.unwrap(), b"answer\n");
}

#[async_std::test]
async fn the_limit_of_a_connection_is_the_option() {
    let options = ListenerOptions {
        frame_limit: 4,
        ..ListenerOptions::default()
    };
    let listener = listen(options).await;
    let (mut peer, mut reader, _writer) = pair(&listener).await;
    peer.write_all(b"1234\r\n").await.unwrap();
    assert_eq!(read_frames(&mut reader, 1).await, [b"1234"]);
    peer.write_all(b"12345").await.unwrap();
    assert_eq!(read_to_too_large(&mut reader).await, 0);
}

#[async_std::test]
async fn megabytes_without_a_line_end_are_not_taken_in() {
    let listener = listen(ListenerOptions::default()).await;
    let (mut peer, mut reader, writer) = pair(&listener).await;
    let flood = task::spawn(async move {
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            peer.write_all(&chunk).await?;
        }
        rest_of(&mut peer).await
    });
    assert_eq!(read_to_too_large(&mut reader).await, 0);
    assert_eq!(read_to_too_large(&mut reader).await, 0);
    writer.abort();
    drop((reader, writer));
    // What nobody reads does not fit into the sockets' buffers.
    assert!(within(flood).await.is_err());
}

#[async_std::test]
async fn closing_ends_a_reader_that_waits_for_a_silent_peer() {
    let listener = listen(ListenerOptions::default()).await;
    let (_peer, mut reader, writer) = pair(&listener).await;
    let reading = task::spawn(async move { reader.read(|_| panic!("a frame")).await });
    within(writer.close()).await;
    assert_eq!(within(reading).await.unwrap(), Arrival::End);
}

#[async_std::test]
async fn a_peer_that_does_not_read_holds_up_nobody_else() {
    let listener = listen(ListenerOptions::default()).await;
    let (mut slow, _slow_reader, mut slow_writer) = pair(&listener).await;
    let (mut quick, mut quick_reader, mut quick_writer) = pair(&listener).await;

    let mut written = fill(&mut slow_writer).await;
    for round in 0..100 {
        quick
            .write_all(format!("{round}\n").as_bytes())
            .await
            .unwrap();
        let frames = read_frames(&mut quick_reader, 1).await;
        let mut out = Vec::new();
        append_frame(&mut out, &frames[0]);
        write_all(&mut quick_writer, &out).await;
        let mut echo = vec![0; out.len()];
        within(quick.read_exact(&mut echo)).await.unwrap();
        assert_eq!(echo, out);
    }
    // The kernel may make a little more room meanwhile; then nothing moves until the peer reads.
    written += fill(&mut slow_writer).await;
    let last = [b'y'; 1];
    let mut waiting = Box::pin(slow_writer.write_some(&last));
    assert!(poll!(&mut waiting).is_pending());

    let reading = task::spawn(async move { rest_of(&mut slow).await });
    assert_eq!(within(waiting).await.unwrap(), 1);
    within(slow_writer.close()).await;
    let received = within(reading).await.unwrap();
    assert_eq!(received.len(), written + 1);
    assert_eq!(received.last(), Some(&b'y'));
}

#[async_std::test]
async fn aborting_drops_what_the_peer_has_not_taken() {
    let listener = listen(ListenerOptions::default()).await;
    let (mut peer, mut reader, mut writer) = pair(&listener).await;
    fill(&mut writer).await;
    writer.abort();
    assert_eq!(
        within(reader.read(|_| panic!("a frame"))).await.unwrap(),
        Arrival::End
    );
    assert!(within(writer.write_some(b"x")).await.is_err());
    drop((reader, writer));
    let error = rest_of(&mut peer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[async_std::test]
async fn a_connection_reset_before_it_is_accepted_stops_nobody() {
    let listener = listen(ListenerOptions::default()).await;
    let gone = std::net::TcpStream::connect(listener.local_addr()).unwrap();
    SockRef::from(&gone)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(gone);
    let mut peer = TcpStream::connect(listener.local_addr()).await.unwrap();
    peer.write_all(b"here\n").await.unwrap();
    // Some systems still hand out the first one; it fails when it is used.
    let mut connection = within(listener.accept()).await;
    if connection.peer != peer.local_addr().unwrap() {
        let (mut reader, _writer) = connection.split();
        within(reader.read(|_| panic!("a frame")))
            .await
            .unwrap_err();
        connection = within(listener.accept()).await;
    }
    assert_eq!(read_frames(&mut connection.split().0, 1).await, [b"here"]);
}

#[async_std::test]
async fn a_thousand_connections_are_served() {
    const COUNT: usize = 1000;
    allow_descriptors(2 * 1000 + 100);
    let listener = listen(ListenerOptions::default()).await;
    let address = listener.local_addr().to_string();
    let server = task::spawn(async move {
        for _ in 0..COUNT {
            task::spawn(echo(listener.accept().await.split()));
        }
    });
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        clients.push(connect(&address, CONNECT_TIMEOUT).await.unwrap().split());
    }
    within(server).await;
    for (number, (_, writer)) in clients.iter_mut().enumerate() {
        write_all(writer, format!("{number}\n").as_bytes()).await;
    }
    for (number, (reader, _)) in clients.iter_mut().enumerate() {
        assert_eq!(
            read_frames(reader, 1).await,
            [number.to_string().as_bytes()]
        );
    }
}

#[async_std::test]
async fn a_client_takes_the_servers_larger_frames() {
    let listener = listen(ListenerOptions::default()).await;
    // By name, which may stand for addresses where nobody listens.
    let address = format!("localhost:{}", listener.local_addr().port());
    let client = within(connect(&address, CONNECT_TIMEOUT)).await.unwrap();
    let (mut client_reader, _client_writer) = client.split();
    let (_reader, mut writer) = within(listener.accept()).await.split();
    let sending = task::spawn(async move {
        let mut out = Vec::new();
        append_frame(&mut out, &vec![b'x'; 256 * 1024]);
        out.resize(out.len() + 256 * 1024 + 1, b'y');
        write_all(&mut writer, &out).await;
        writer
    });
    assert_eq!(
        read_frames(&mut client_reader, 1).await,
        [vec![b'x'; 256 * 1024]]
    );
    assert_eq!(read_to_too_large(&mut client_reader).await, 0);
    within(sending).await;
}

#[async_std::test]
async fn failures_to_listen_and_connect_are_told() {
    let listener = listen(ListenerOptions::default()).await;
    let address = listener.local_addr().to_string();
    let taken = Listener::bind(&address, ListenerOptions::default()).await;
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(
        Listener::bind("no port", ListenerOptions::default())
            .await
            .is_err()
    );
    // Bound, so that nobody else has the port, but not listening.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    silent.bind(&any_port.into()).unwrap();
    let silent_address = silent.local_addr().unwrap().as_socket().unwrap();
    let refused = within(connect(&silent_address.to_string(), CONNECT_TIMEOUT)).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    let late = within(connect(&address, Duration::ZERO)).await;
    assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// Other tests of this process take ports of 127.0.0.1; only Linux has more such addresses.
#[cfg(target_os = "linux")]
#[async_std::test]
async fn a_port_can_be_had_again_while_old_connections_fade() {
    let listener = Listener::bind("127.0.0.2:0", ListenerOptions::default()).await;
    let listener = listener.unwrap();
    let address = listener.local_addr().to_string();
    let client = connect(&address, CONNECT_TIMEOUT).await.unwrap();
    let (mut client_reader, client_writer) = client.split();
    let (_reader, writer) = within(listener.accept()).await.split();
    drop(listener);
    // The side that closes first keeps the port in TIME_WAIT.
    let closing = task::spawn(writer.close());
    let arrival = within(client_reader.read(|_| panic!("a frame"))).await;
    assert_eq!(arrival.unwrap(), Arrival::End);
    within(client_writer.close()).await;
    within(closing).await;
    Listener::bind(&address, ListenerOptions::default())
        .await
        .unwrap();
}

async fn echo((mut reader, mut writer): (FrameReader, FrameWriter)) {
    loop {
        let mut out = Vec::new();
        match reader.read(|frame| append_frame(&mut out, frame)).await {
            Ok(Arrival::Frames) => write_all(&mut writer, &out).await,
            _ => return,
        }
    }
}

/// Writes until the socket takes no more, and returns how much it took.
async fn fill(writer: &mut FrameWriter) -> usize {
    let chunk = vec![b'x'; 64 * 1024];
    let mut written = 0;
    loop {
        let mut writing = Box::pin(writer.write_some(&chunk));
        match poll!(&mut writing) {
            std::task::Poll::Ready(result) => written += result.unwrap(),
            std::task::Poll::Pending => return written,
        }
        assert!(written < 1 << 30, "the sockets' buffers have an end");
    }
}

/// Reads until a frame is too large, and returns how many came before it.
async fn read_to_too_large(reader: &mut FrameReader) -> usize {
    let mut frames = 0;
    loop {
        match within(reader.read(|_| frames += 1)).await.unwrap() {
            Arrival::Frames => {}
            Arrival::TooLarge => return frames,
            Arrival::End => panic!("ended"),
        }
    }
}

/// Reads to the end.
async fn rest_of(peer: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    within(peer.read_to_end(&mut bytes)).await?;
    Ok(bytes)
}

/// Raises the process's limit of open files.
fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return;
    }
    let maximum = limit.maximum;
    assert!(
        maximum.is_none_or(|maximum| maximum >= count),
        "this test needs {count} file descriptors: raise the hard limit (ulimit -Hn)"
    );
    let current = Some(count);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
}

#[async_std::test]
async fn so_many_wait_to_be_accepted_and_no_more() {
    let listener = listen(ListenerOptions {
        backlog: 3,
        ..ListenerOptions::default()
    })
    .await;
    let address = listener.local_addr();
    let try_connect = || {
        // What finds no room gets no answer from the kernel.
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300))
    };
    let mut waiting = Vec::new();
    while let Ok(stream) = try_connect() {
        waiting.push(stream);
        assert!(waiting.len() < 20, "there is room for any number");
    }
    // Linux lets in one more than is said.
    assert!((1..=4).contains(&waiting.len()), "{}", waiting.len());
    for _ in 0..waiting.len() {
        within(listener.accept()).await;
    }
    let _next = within(TcpStream::connect(address)).await.unwrap();
    within(listener.accept()).await;
}
