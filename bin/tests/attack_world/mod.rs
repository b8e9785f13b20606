//! Those who hold connections or flood a node, those who are served meanwhile, and what it costs.

mod crowd;
mod talk;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockFilter, Socket, Type};

pub(crate) use crowd::Crowd;
pub(crate) use talk::Talk;

/// The classic BPF instruction that returns a constant (`linux/bpf_common.h`): of a packet's bytes,
/// so many are kept.
const RETURN: u16 = 0x06;

/// Reads a number from the environment.
pub(crate) fn number(name: &str, default: usize) -> usize {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
}

/// Allows this process as many connections as the system lets it have.
pub(crate) fn allow_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
}

/// Connects with so small a buffer that what is not read soon stays with the server.
pub(crate) fn connect_narrow(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Makes the system drop all that arrives for a socket, acknowledgements included, as if the machine
/// had lost its network: the other side has half a connection.
pub(crate) fn lose(stream: &TcpStream) {
    let nothing = SockFilter::new(RETURN, 0, 0, 0);
    socket2::SockRef::from(stream)
        .attach_filter(&[nothing])
        .unwrap();
}
