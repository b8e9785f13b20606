//! `parlor serve`.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use async_signal::{Signal, Signals};
use async_std::{future, task};
use futures::future::{Either, select};
use futures::{StreamExt as _, stream};
use hmac::{Hmac, KeyInit as _, Mac as _};
use parlor::{Node, NodeError};
use parlor_core::protocol::{Event, NoticeCode, encode};
use parlor_core::secret::Secret;
use parlor_core::store::StoreError;
use parlor_relay_redis::RedisRelay;
use parlor_storage::{Cluster, OpenError, Options, PasswordOptions, SqlStore};
use parlor_transport_tcp::{Listener, ListenerOptions, TlsAcceptor, TlsError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sha2::Sha256;
use thiserror::Error;
use tracing::{error, info, warn};

use crate::admin::Authority;
use crate::cli::ServeArguments;
use crate::config::{self, ConfigError, Jwt, Settings};
use crate::logging::{self, BadLevel};
use crate::manager::Manager;
use crate::relay::{self, RelayFailure};
use crate::tls::Certificate;
use crate::{admin, fail, memory, print};

/// How long a drain may take, whatever hangs: shorter than the half minute that is promised.
pub(crate) const DRAIN: Duration = Duration::from_secs(28);

/// How long a client that finds the node full is asked to wait.
const FULL_RETRY_MS: u64 = 5000;

/// Why the server did not start.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] BadLevel),
    #[error(transparent)]
    Relay(#[from] RelayFailure),
    #[error("cannot listen on {address}: {error}; {}", advice(error, flag))]
    Listen {
        address: String,
        error: io::Error,
        flag: &'static str,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the store does not say which cluster it belongs to: {0}")]
    Cluster(StoreError),
    #[error(
        "the store belongs to a cluster with another secret; give this node that secret, or another store"
    )]
    OtherSecret,
    #[error(
        "the store belongs to a cluster with a secret; set `secret` in the file, or PARLOR_SECRET, to it"
    )]
    SecretMissing,
    #[error("cannot get random bytes from the system: {0}")]
    Random(getrandom::Error),
}

/// Runs the server to its end.
pub(crate) fn run(arguments: &ServeArguments) -> ExitCode {
    let started = (|| {
        let settings = config::load(arguments)?;
        logging::start(&settings.log, settings.log_format)?;
        Ok::<_, Failure>(settings)
    })();
    let served = started.and_then(|settings| task::block_on(serve(&settings)));
    served.unwrap_or_else(|failure| fail(&failure))
}

async fn serve(settings: &Settings) -> Result<ExitCode, Failure> {
    // First of all, so that no signal is lost.
    let signals = Signals::new([Signal::Term, Signal::Int]).map_err(Failure::Signals)?;
    let hangups = Signals::new([Signal::Hup]).map_err(Failure::Signals)?;
    let manager = Manager::from_environment();
    raise_descriptor_limit();
    let (drain, drains) = async_channel::bounded(1);
    let (running, readiness) = start(settings, drain).await?;
    manager.ready(&readiness.status);
    task::spawn(manager.clone().watch(running.node.clone()));
    task::spawn(memory::watch(running.node.clone()));
    task::spawn(read_anew(hangups, manager.clone(), readiness));
    // Only the first order to drain is one; who means the end of it sends a signal.
    let orders = drains.take(1).map(|()| Word::Order);
    let mut words = std::pin::pin!(stream::select(signals.map(Word::Signal), orders));
    let word = {
        let ended = std::pin::pin!(running.node.wait());
        match select(ended, words.next()).await {
            // It was not told to end, so it broke.
            Either::Left((outcome, _)) => {
                error!(?outcome, "the node has ended");
                return Ok(ExitCode::FAILURE);
            }
            Either::Right((word, _)) => word,
        }
    };
    info!(
        signal = name(word.as_ref()),
        "draining; a second signal ends at once"
    );
    manager.stopping();
    running.node.drain();
    let drained = std::pin::pin!(future::timeout(DRAIN, drained(&running)));
    Ok(match select(drained, words.next()).await {
        Either::Left((Ok(Ok(())), _)) => {
            info!("drained");
            ExitCode::SUCCESS
        }
        Either::Left((Ok(Err(error)), _)) => {
            error!(%error, "the node broke while it drained");
            ExitCode::FAILURE
        }
        Either::Left((Err(_), _)) => {
            warn!("the store did not finish in time; the last second of cursors may be lost");
            ExitCode::SUCCESS
        }
        Either::Right((word, _)) => {
            warn!(signal = name(word.as_ref()), "ended by a second signal");
            ExitCode::from(exit_code(word.as_ref()))
        }
    })
}

/// What has a node end.
enum Word {
    /// A signal.
    Signal(io::Result<Signal>),
    /// An operator's order.
    Order,
}

/// What ends together.
struct Running {
    node: Node,
    store: SqlStore,
    relay: Option<RedisRelay>,
}

impl Running {
    /// Returns what operators may look at, and how their orders reach it.
    fn sources(&self, settings: &Settings, drain: Sender<()>) -> admin::Sources {
        admin::Sources {
            node: self.node.clone(),
            store: self.store.clone(),
            relay: self.relay.clone(),
            authority: Authority::new(settings.admin_token.as_ref()),
            drain,
        }
    }
}

/// What there is to say of a node that serves, and to read anew.
struct Readiness {
    /// Where it listens and stores.
    status: String,
    certificate: Option<Certificate>,
}

/// Reads anew at each SIGHUP what can be without a restart, which is the certificate.
async fn read_anew(mut hangups: Signals, manager: Manager, readiness: Readiness) {
    while let Some(_hangup) = hangups.next().await {
        manager.reloading();
        match &readiness.certificate {
            Some(certificate) => certificate.renew().await,
            None => info!("SIGHUP: there is no certificate to read anew"),
        }
        manager.ready(&readiness.status);
    }
}

/// Starts the node and says so on stdout.
async fn start(settings: &Settings, drain: Sender<()>) -> Result<(Running, Readiness), Failure> {
    // Before the store: a server that runs already keeps its database to itself.
    let mut builder = Node::builder();
    let mut listening = Vec::new();
    if let Some(address) = &settings.listen {
        let listener = listen(settings, address, "--listen", None).await?;
        listening.push(format!("on {}", listener.local_addr()));
        builder = builder.transport(listener);
    }
    let mut certificate = None;
    if let Some(tls) = &settings.tls {
        let read = Certificate::read(tls.clone(), settings.handshake).await?;
        let acceptor = Some(certificate.insert(read).acceptor());
        let listener = listen(settings, &tls.listen, "--tls-listen", acceptor).await?;
        listening.push(format!("with TLS on {}", listener.local_addr()));
        builder = builder.transport(listener);
    }
    let listening = listening.join(", ");
    let admin = match &settings.admin {
        Some(address) => {
            let listening = admin::listen(address).await;
            Some(listening.map_err(|error| Failure::Listen {
                address: address.clone(),
                error,
                flag: "--admin",
            })?)
        }
        None => None,
    };
    let sink = builder.sink();
    let answers = sink.clone();
    let answers = Arc::new(move |stored| answers.stored(stored));
    let store = SqlStore::open(&settings.store, options(settings)?, answers).await?;
    let cluster = store.cluster().await.map_err(Failure::Cluster)?;
    let secret = secret(settings, &store, &cluster).await?;
    let relay = relay::open(settings, &cluster.id, &secret, sink).await?;
    let builder = match relay.clone() {
        Some(relay) => builder.relay(relay),
        None => builder,
    };
    let config = settings.engine(secret, getrandom::u64().map_err(Failure::Random)?);
    let node = builder.start(config, store.clone());
    let running = Running { node, store, relay };
    let watched = match admin {
        Some((listener, address)) => {
            task::spawn(admin::serve(listener, running.sources(settings, drain)));
            format!(", watched at http://{address}")
        }
        None => String::new(),
    };
    let status = format!(
        "listening {listening}, storing in {}{watched}",
        settings.store_without_password()
    );
    // Nobody has to watch: a server whose stdout is closed serves all the same.
    let _closed = print(&format!("parlor is ready: {status}\n"));
    info!(
        listening,
        store = settings.store_without_password(),
        "ready"
    );
    let readiness = Readiness {
        status,
        certificate,
    };
    Ok((running, readiness))
}

async fn listen(
    settings: &Settings,
    address: &str,
    flag: &'static str,
    tls: Option<TlsAcceptor>,
) -> Result<Listener, Failure> {
    let mut options = ListenerOptions {
        proxies: settings.proxies.clone(),
        tls,
        ..ListenerOptions::default()
    };
    let full = Event::Notice {
        code: NoticeCode::Full,
        message: "the server has no room for another connection".into(),
        retry_ms: Some(FULL_RETRY_MS),
    };
    encode::event(&full, &mut options.refusal);
    let listening = Listener::bind(address, options).await;
    listening.map_err(|error| Failure::Listen {
        address: address.to_owned(),
        error,
        flag,
    })
}

/// Says what helps when one cannot listen where a flag says.
fn advice(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("stop what listens there, or choose another port with {flag}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("choose an address of this machine with {flag}, or 0.0.0.0 for all of them")
        }
        io::ErrorKind::PermissionDenied => format!("choose a port above 1023 with {flag}"),
        _ => format!("write {flag} host:port, such as 127.0.0.1:6000"),
    }
}

fn options(settings: &Settings) -> Result<Options, ConfigError> {
    Ok(Options {
        limits: settings.limits,
        migrate: settings.migrate,
        password: PasswordOptions {
            memory_kib: settings.password.memory_kib,
            iterations: settings.password.iterations,
            ..PasswordOptions::default()
        },
        jwt: settings.jwt.as_ref().map(Jwt::options).transpose()?,
        ..Options::default()
    })
}

/// Returns the secret to sign with, once it is known to be the one of the store's cluster.
async fn secret(
    settings: &Settings,
    store: &SqlStore,
    cluster: &Cluster,
) -> Result<Secret, Failure> {
    if let Some(secret) = &settings.secret {
        let check = check(secret, &cluster.id);
        return match store.claim(&check).await.map_err(Failure::Cluster)? {
            true => Ok(secret.clone()),
            false => Err(Failure::OtherSecret),
        };
    }
    match &cluster.check {
        Some(_) => Err(Failure::SecretMissing),
        None => store.secret().await.map_err(Failure::Cluster),
    }
}

/// Returns what a store keeps in order to know its cluster's secret again.
fn check(secret: &Secret, cluster: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .unwrap_or_else(|error: hmac::digest::InvalidLength| unreachable!("{error}"));
    mac.update(cluster.as_bytes());
    let code = mac.finalize().into_bytes();
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits for the node to drain, its last words to be published, and the store to close.
async fn drained(running: &Running) -> Result<(), NodeError> {
    running.node.wait().await?;
    if let Some(relay) = &running.relay {
        relay.close().await;
    }
    running.store.close().await;
    Ok(())
}

/// Allows as many connections as the system lets this process have.
pub(crate) fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        warn!(%error, "cannot raise the limit of open files");
    }
}

fn name(word: Option<&Word>) -> &'static str {
    match word {
        Some(Word::Signal(Ok(Signal::Int))) => "SIGINT",
        Some(Word::Order) => "an operator's order",
        _ => "SIGTERM",
    }
}

/// Returns what a shell reports of a process that was ended by this signal.
fn exit_code(word: Option<&Word>) -> u8 {
    match word {
        Some(Word::Signal(Ok(Signal::Int))) => 130,
        _ => 143,
    }
}
