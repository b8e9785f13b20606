//! Running out of file descriptors. The only test of its process, which it leaves without any.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::io::{Read, Write};

use async_std::task;
use parlor_transport_tcp::{Arrival, Connection, Listener, ListenerOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use common::{listen, pair, read_frames, within, write_all};

#[async_std::test]
async fn without_descriptors_clients_are_told_and_others_go_on() {
    let options = ListenerOptions {
        refusal: b"full".to_vec(),
        ..ListenerOptions::default()
    };
    let listener = listen(options).await;
    let (mut old, mut old_reader, mut old_writer) = pair(&listener).await;
    let address = listener.local_addr();
    // The clients are of this process too: their sockets must exist before it has no more.
    let mut sockets: Vec<Socket> = (0..12).map(|_| client_socket()).collect();
    let lucky = sockets.split_off(10);
    let mut hoard = take_all_descriptors();

    let accepting = task::spawn(accept_from(listener));
    let asking = task::spawn_blocking(move || {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.connect(&address.into()).unwrap();
            // Half of them have spoken before they are refused, and must be told all the same.
            if number % 2 == 0 {
                socket.write_all(b"{\"id\":1,\"op\":\"ping\"}\n").unwrap();
            }
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"full\n");
        }
        sockets
    });
    // They stay open: a closed one's descriptor would be free for the next.
    let _refused = within(asking).await;

    async_std::io::WriteExt::write_all(&mut old, b"still here\n")
        .await
        .unwrap();
    assert_eq!(read_frames(&mut old_reader, 1).await, [b"still here"]);
    write_all(&mut old_writer, b"yes\n").await;
    let mut answer = [0; 4];
    within(async_std::io::ReadExt::read_exact(&mut old, &mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"yes\n");

    hoard.truncate(hoard.len() - 4);
    let lucky = task::spawn_blocking(move || {
        for socket in &lucky {
            socket.connect(&address.into()).unwrap();
        }
        lucky
    });
    let lucky = within(lucky).await;
    let (_listener, connection) = within(accepting).await;
    assert_eq!(
        connection.peer,
        lucky[0].local_addr().unwrap().as_socket().unwrap()
    );
    let (mut reader, writer) = connection.split();
    drop(lucky);
    assert_eq!(within(reader.read(|_| ())).await.unwrap(), Arrival::End);
    within(writer.close()).await;
}

async fn accept_from(listener: Listener) -> (Listener, Connection) {
    let connection = listener.accept().await;
    (listener, connection)
}

fn client_socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
}

/// Opens files until the process may open no more.
fn take_all_descriptors() -> Vec<Socket> {
    let limit = getrlimit(Resource::Nofile);
    let low = Rlimit {
        current: Some(100),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, low).unwrap();
    let hoard: Vec<Socket> =
        std::iter::from_fn(|| Socket::new(Domain::IPV4, Type::DGRAM, None).ok()).collect();
    assert!(hoard.len() > 10);
    hoard
}
