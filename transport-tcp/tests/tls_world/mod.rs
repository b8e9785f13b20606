//! Certificates, and clients that speak TLS by `rustls` itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parlor_transport_tcp::{Identity, Listener, ListenerOptions, TlsAcceptor};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tempfile::TempDir;

use crate::common;

/// How long a handshake may take where nobody is slow on purpose.
pub(crate) const AMPLE: Duration = Duration::from_secs(600);

/// A certificate for `localhost`, in files.
pub(crate) struct Files {
    pub(crate) folder: TempDir,
    pub(crate) der: CertificateDer<'static>,
}

impl Files {
    /// Makes one that is good from one year's beginning to another's.
    pub(crate) fn valid(from: i32, until: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.not_before = date_time_ymd(from, 1, 1);
        parameters.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        std::fs::write(folder.path().join("cert.pem"), pem).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { folder, der }
    }

    pub(crate) fn new() -> Self {
        Self::valid(2020, 2999)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::load(&self.certificate(), &self.key(), SystemTime::now()).unwrap()
    }

    /// Returns what a client needs who believes this certificate.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// Listens with TLS on a free port.
pub(crate) async fn listen(files: &Files, handshake: Duration) -> (Listener, TlsAcceptor) {
    let acceptor = TlsAcceptor::new(files.identity(), handshake);
    let options = ListenerOptions {
        tls: Some(acceptor.clone()),
        ..ListenerOptions::default()
    };
    (common::listen(options).await, acceptor)
}

/// Connects with TLS; the handshake is done with the first read or write.
pub(crate) fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Client<TcpStream> {
    let socket = socket(address);
    over(socket, config)
}

/// Connects a bare socket.
pub(crate) fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    socket
}

pub(crate) type Client<S> = StreamOwned<ClientConnection, S>;

/// Speaks TLS over any stream.
pub(crate) fn over<S: Read + Write>(stream: S, config: Arc<ClientConfig>) -> Client<S> {
    let name = "localhost".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

/// A socket that takes and gives a few bytes at a time.
pub(crate) struct Dribble(pub(crate) TcpStream, pub(crate) usize);

impl Read for Dribble {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.1);
        self.0.read(&mut bytes[..length])
    }
}

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.1);
        self.0.write(&bytes[..length])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
