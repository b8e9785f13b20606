//! TLS, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;
mod tls_world;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use async_std::{future, task};
use parlor_transport_tcp::{
    Arrival, FrameReader, FrameWriter, Identity, Listener, ListenerOptions, TlsAcceptor,
    TlsConnector, connect_tls,
};
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use common::{read_frames, within, write_all};
use tls_world::{AMPLE, Dribble, Files, connect, listen, over, socket};

/// More than a connection that is served at once takes, however busy the machine.
const A_WHILE: Duration = Duration::from_millis(300);

async fn accept(listener: &Listener) -> (FrameReader, FrameWriter) {
    within(listener.accept()).await.split()
}

/// Waits for a client's thread.
async fn join<T: Send + 'static>(client: JoinHandle<T>) -> T {
    within(task::spawn_blocking(move || client.join().unwrap())).await
}

/// Returns bytes that no shift or repeat of theirs equals.
fn bytes(length: usize) -> Vec<u8> {
    (0..length / 8)
        .flat_map(|number| format!("{number:07}\n").into_bytes())
        .collect()
}

/// Reads to the end, however it comes.
async fn read_to_end(reader: &mut FrameReader) -> (Vec<Vec<u8>>, io::Result<Arrival>) {
    let mut frames = Vec::new();
    loop {
        match within(reader.read(|frame| frames.push(frame.to_vec()))).await {
            Ok(Arrival::Frames) => {}
            end => return (frames, end),
        }
    }
}

/// Checks that the listener serves those who know how to speak.
async fn serves(listener: &Listener, files: &Files) {
    let mut client = connect(listener.local_addr(), files.client(&[&TLS13]));
    let client = thread::spawn(move || client.write_all(b"here\n").map(|()| client));
    let (mut reader, _writer) = accept(listener).await;
    assert_eq!(read_frames(&mut reader, 1).await, [b"here"]);
    drop(join(client).await.unwrap());
}

#[async_std::test]
async fn both_versions_carry_frames_however_they_are_cut() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    let requests = bytes(40_000);
    let answer = bytes(300_000);
    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        for piece in [1, 7, 1000, usize::MAX] {
            let config = files.client(&[version]);
            let address = listener.local_addr();
            let sent = requests.clone();
            let length = answer.len();
            let client = thread::spawn(move || {
                let mut client = over(Dribble(socket(address), piece), config);
                // Records of many sizes, too.
                for record in sent.chunks(piece.clamp(500, 5000)) {
                    client.write_all(record).unwrap();
                }
                let mut received = vec![0; length];
                client.read_exact(&mut received).unwrap();
                assert_eq!(client.conn.protocol_version(), Some(number));
                received
            });
            let (mut reader, mut writer) = accept(&listener).await;
            let frames = read_frames(&mut reader, requests.len() / 8).await;
            assert_eq!(frames.join(&b'\n'), requests[..requests.len() - 1]);
            write_all(&mut writer, &answer).await;
            assert!(join(client).await == answer, "{number:?} {piece}");
        }
    }
}

#[async_std::test]
async fn what_counts_as_written_is_sent_and_a_dropped_write_loses_nothing() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    let answer = bytes(20_000_000);
    let mut client = connect(listener.local_addr(), files.client(&[&TLS13]));
    let started = thread::spawn(move || client.write_all(b"go\n").map(|()| client));
    let (mut reader, mut writer) = accept(&listener).await;
    assert_eq!(read_frames(&mut reader, 1).await, [b"go"]);
    let mut client = join(started).await.unwrap();
    // The client reads nothing until the writer has to wait.
    let mut written = 0;
    while let Ok(more) = future::timeout(A_WHILE, writer.write_some(&answer[written..])).await {
        written += more.unwrap();
    }
    assert!((1..answer.len()).contains(&written), "{written} bytes");
    // While nobody writes on, all that counted comes.
    let reading = thread::spawn(move || {
        let mut received = vec![0; written];
        client
            .read_exact(&mut received)
            .map(|()| (client, received))
    });
    let (mut client, mut received) = join(reading).await.unwrap();
    let rest = answer.len() - written;
    let reading = thread::spawn(move || {
        let mut more = vec![0; rest];
        client.read_exact(&mut more).unwrap();
        received.extend(more);
        received
    });
    write_all(&mut writer, &answer[written..]).await;
    assert!(join(reading).await == answer, "bytes were lost or repeated");
}

#[async_std::test]
async fn a_server_may_speak_first_and_says_that_it_ends() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    for version in [&TLS12, &TLS13] {
        let mut client = connect(listener.local_addr(), files.client(&[version]));
        let client = thread::spawn(move || {
            let mut text = String::new();
            // An end that was not announced would be an error here.
            client.read_to_string(&mut text).unwrap();
            text
        });
        let (_reader, mut writer) = accept(&listener).await;
        write_all(&mut writer, b"no room\n").await;
        within(writer.close()).await;
        assert_eq!(join(client).await, "no room\n");
    }
}

#[async_std::test]
async fn who_ends_his_side_still_gets_his_answers() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    for version in [&TLS12, &TLS13] {
        for announced in [true, false] {
            let mut client = connect(listener.local_addr(), files.client(&[version]));
            let client = thread::spawn(move || {
                client.write_all(b"one\ntwo\nunfinished").unwrap();
                if announced {
                    client.conn.send_close_notify();
                    client.flush().unwrap();
                }
                client.sock.shutdown(Shutdown::Write).unwrap();
                let mut text = String::new();
                client.read_to_string(&mut text).unwrap();
                text
            });
            let (mut reader, mut writer) = accept(&listener).await;
            let (frames, end) = read_to_end(&mut reader).await;
            assert_eq!(frames, [b"one", b"two"]);
            assert_eq!(end.unwrap(), Arrival::End);
            write_all(&mut writer, b"answer\n").await;
            within(writer.close()).await;
            assert_eq!(join(client).await, "answer\n");
        }
    }
}

#[async_std::test]
async fn a_stream_that_is_cut_off_ends() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    let mut client = connect(listener.local_addr(), files.client(&[&TLS13]));
    let client = thread::spawn(move || {
        client.write_all(b"whole\n").unwrap();
        // A record of which the end is missing.
        client.conn.writer().write_all(b"half\n").unwrap();
        let mut record = Vec::new();
        client.conn.write_tls(&mut record).unwrap();
        client.sock.write_all(&record[..record.len() - 1]).unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        client
    });
    let (mut reader, _writer) = accept(&listener).await;
    let (frames, end) = read_to_end(&mut reader).await;
    assert_eq!(frames, [b"whole"]);
    assert_eq!(end.unwrap(), Arrival::End);
    drop(join(client).await);
}

#[async_std::test]
async fn a_record_that_was_tampered_with_is_an_error() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    for version in [&TLS12, &TLS13] {
        let mut client = connect(listener.local_addr(), files.client(&[version]));
        let client = thread::spawn(move || {
            client.write_all(b"good\n").unwrap();
            client.conn.writer().write_all(b"evil\n").unwrap();
            let mut record = Vec::new();
            client.conn.write_tls(&mut record).unwrap();
            *record.last_mut().unwrap() ^= 1;
            client.sock.write_all(&record).unwrap();
            client
        });
        let (mut reader, _writer) = accept(&listener).await;
        let (frames, end) = read_to_end(&mut reader).await;
        assert_eq!(frames, [b"good"]);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(join(client).await);
    }
}

#[async_std::test]
async fn a_slow_handshake_is_cut_and_holds_up_nobody() {
    let files = Files::new();
    let (listener, _) = listen(&files, A_WHILE).await;
    let _silent = socket(listener.local_addr());
    let (mut silent, _writer) = accept(&listener).await;
    let mut slow = socket(listener.local_addr());
    // The beginning of a record that is never finished.
    slow.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    let (mut slow, mut slow_writer) = accept(&listener).await;
    for reader in [&mut silent, &mut slow] {
        let (frames, end) = read_to_end(reader).await;
        assert_eq!(frames.len(), 0);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
    // Whoever would write to it waits no longer either.
    let written = within(slow_writer.write_some(b"notice\n")).await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[async_std::test]
async fn connections_in_their_handshake_hold_up_nobody() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let silent = socket(listener.local_addr());
        let (mut reader, writer) = accept(&listener).await;
        let reading = task::spawn(async move { reader.read(|_| ()).await });
        waiting.push((silent, reading, writer));
    }
    serves(&listener, &files).await;
}

#[async_std::test]
async fn garbage_in_place_of_a_handshake_does_no_harm() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    let mut hello = Vec::new();
    let mut client = over(io::empty(), files.client(&[&TLS12, &TLS13]));
    client.conn.write_tls(&mut hello).unwrap();
    let mut all = vec![
        b"{\"id\":1,\"op\":\"ping\"}\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 6000\r\n".to_vec(),
        vec![0; 100_000],
        vec![0xff; 100_000],
        // A handshake message of 16 MB, and an empty record again and again.
        [&[22, 3, 3, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 100_000]].concat(),
        [22, 3, 3, 0, 0].repeat(20_000),
    ];
    // A greeting with a wrong byte here and there, or without its end.
    for at in (0..hello.len()).step_by(5) {
        let mut wrong = hello.clone();
        wrong[at] ^= 0x55;
        all.push(wrong);
        all.push(hello[..at].to_vec());
    }
    for garbage in all {
        let mut peer = socket(listener.local_addr());
        let peer = thread::spawn(move || {
            // The other side may have had enough before the end.
            let _refused = peer.write_all(&garbage);
            let _refused = peer.shutdown(Shutdown::Write);
            let mut rest = Vec::new();
            let _either = peer.read_to_end(&mut rest);
        });
        let (mut reader, writer) = accept(&listener).await;
        let (frames, _) = read_to_end(&mut reader).await;
        assert_eq!(frames.len(), 0);
        within(writer.close()).await;
        drop(reader);
        join(peer).await;
    }
    serves(&listener, &files).await;
}

#[async_std::test]
async fn the_header_of_a_proxy_comes_before_the_handshake() {
    let files = Files::new();
    let mut options = ListenerOptions {
        tls: Some(TlsAcceptor::new(files.identity(), AMPLE)),
        ..ListenerOptions::default()
    };
    options.proxies.from = vec!["127.0.0.1".parse().unwrap()];
    let listener = common::listen(options).await;
    let config = files.client(&[&TLS13]);
    let address = listener.local_addr();
    let client = thread::spawn(move || {
        let mut socket = socket(address);
        let header = b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 6000\r\n";
        socket.write_all(header).unwrap();
        let mut client = over(socket, config);
        client.write_all(b"one\n").unwrap();
        client
    });
    let connection = within(listener.accept()).await;
    assert_eq!(connection.origin, "203.0.113.9:56324".parse().unwrap());
    let (mut reader, _writer) = connection.split();
    assert_eq!(read_frames(&mut reader, 1).await, [b"one"]);
    drop(join(client).await);
}

#[async_std::test]
async fn a_new_certificate_is_for_new_connections() {
    let (old, new) = (Files::new(), Files::new());
    let (listener, acceptor) = listen(&old, AMPLE).await;
    let mut first = connect(listener.local_addr(), old.client(&[&TLS13]));
    let first = thread::spawn(move || first.write_all(b"one\n").map(|()| first));
    let (mut reader, _writer) = accept(&listener).await;
    assert_eq!(read_frames(&mut reader, 1).await, [b"one"]);
    let mut first = join(first).await.unwrap();
    acceptor.renew(new.identity());
    serves(&listener, &new).await;
    first.write_all(b"two\n").unwrap();
    assert_eq!(read_frames(&mut reader, 1).await, [b"two"]);
}

#[async_std::test]
async fn a_client_believes_whom_it_was_told_to() {
    let files = Files::new();
    let (listener, _) = listen(&files, AMPLE).await;
    let port = listener.local_addr().port();
    let server = task::spawn(async move {
        loop {
            let (mut reader, mut writer) = listener.accept().await.split();
            task::spawn(async move {
                let mut frames = Vec::new();
                while let Ok(Arrival::Frames) = reader.read(|it| frames.extend_from_slice(it)).await
                {
                    if !frames.is_empty() {
                        write_all(&mut writer, b"answer\n").await;
                        frames.clear();
                    }
                }
            });
        }
    });
    let believes = TlsConnector::private(&files.certificate()).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let connection = connect_tls(&format!("{host}:{port}"), &believes, AMPLE).await;
        let (mut reader, mut writer) = connection.unwrap().split();
        write_all(&mut writer, b"question\n").await;
        assert_eq!(read_frames(&mut reader, 1).await, [b"answer"]);
    }
    let stranger = TlsConnector::private(&Files::new().certificate()).unwrap();
    let address = format!("localhost:{port}");
    for connector in [&stranger, &TlsConnector::public()] {
        let error = connect_tls(&address, connector, AMPLE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("no authority"), "{error}");
    }
    drop(server);
}

#[async_std::test]
async fn a_client_notices_another_name_and_a_server_without_tls() {
    let files = Files::new();
    let believes = TlsConnector::private(&files.certificate()).unwrap();
    let acceptor = TlsAcceptor::new(files.identity(), AMPLE);
    let options = ListenerOptions {
        tls: Some(acceptor),
        ..ListenerOptions::default()
    };
    let listener = Listener::bind("127.0.0.2:0", options).await.unwrap();
    let other = listener.local_addr().to_string();
    let serving = task::spawn(async move {
        let (mut reader, _writer) = listener.accept().await.split();
        read_to_end(&mut reader).await
    });
    let error = connect_tls(&other, &believes, AMPLE).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.2"), "{error}");
    assert!(within(serving).await.1.is_err());

    let plain = common::listen(ListenerOptions::default()).await;
    let address = plain.local_addr().to_string();
    let serving = task::spawn(async move {
        let (_reader, mut writer) = plain.accept().await.split();
        write_all(&mut writer, b"{\"id\":null,\"error\":{}}\n").await;
        writer.close().await;
    });
    let error = connect_tls(&address, &believes, AMPLE).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    within(serving).await;
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (good, other) = (Files::new(), Files::new());
    let (old, early) = (Files::valid(2001, 2002), Files::valid(2990, 2999));
    let missing = good.folder.path().join("missing.pem");
    let damaged = good.folder.path().join("damaged.pem");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&damaged, text).unwrap();
    let noise = good.folder.path().join("noise.pem");
    std::fs::write(&noise, [0xff; 100]).unwrap();
    let (certificate, key) = (good.certificate(), good.key());
    for (certificate, key, said) in [
        (
            &certificate,
            &other.key(),
            &["does not fit", "cert.pem", "key.pem"][..],
        ),
        (
            &old.certificate(),
            &old.key(),
            &["expired on 2002-01-01", "cert.pem"],
        ),
        (&early.certificate(), &early.key(), &["before 2990-01-01"]),
        (&missing, &key, &["cannot read", "missing.pem"]),
        (&certificate, &missing, &["cannot read", "missing.pem"]),
        (&key, &certificate, &["key.pem holds no certificate"]),
        (
            &certificate,
            &certificate,
            &["cert.pem holds no private key"],
        ),
        (&damaged, &key, &["damaged.pem cannot be used"]),
        (&noise, &key, &["noise.pem holds no certificate"]),
    ] {
        let error = Identity::load(certificate, key, SystemTime::now()).expect_err(said[0]);
        let error = error.to_string();
        for part in said {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let expires = good.identity().expires;
    assert!(expires > SystemTime::now() + Duration::from_secs(86_400));
}
