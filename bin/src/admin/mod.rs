//! The side port: health, metrics, a status page and orders over HTTP, for operators.
//!
//! What anyone may ask for shows numbers and nothing of users, and changes nothing. What is below
//! `/admin/` names users and changes things: it obeys who has the token, or who is on this machine
//! where there is none. It all belongs where only operators reach it: on the loopback interface, or
//! on a network of their own.

mod authority;
mod gathered;
mod metrics;
mod orders;
mod process;
pub(crate) mod wire;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use async_std::net::{TcpListener, TcpStream};
use async_std::{future, task};
use futures::StreamExt as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use parlor::Node;
use parlor_relay_redis::RedisRelay;
use parlor_storage::SqlStore;
use smol_hyper::rt::FuturesIo;
use tracing::{debug, warn};

pub(crate) use authority::Authority;
use gathered::Gathered;

/// How many connections are served at a time.
const CONNECTIONS: usize = 64;

/// How long a connection may last, from the first byte of its request to the last of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the engine and the store have to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// How long an order may take, which may have to hash a password and be committed.
const ORDER: Duration = Duration::from_secs(8);

/// How long it may take to count the nodes after an order that may have taken all its time.
const COUNT: Duration = Duration::from_secs(1);

/// How long to wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The status page: one file, which asks this port and no other.
const PAGE: &str = include_str!("status.html");

/// What there is to tell about.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) node: Node,
    pub(crate) store: SqlStore,
    pub(crate) relay: Option<RedisRelay>,
    pub(crate) authority: Authority,
    /// Where a word has the node drain.
    pub(crate) drain: Sender<()>,
}

type Answer = Response<Full<Bytes>>;

/// Listens, without answering yet.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) async fn listen(address: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Answers until the program ends.
pub(crate) async fn serve(listener: TcpListener, sources: Sources) {
    let sources = Arc::new(sources);
    listener
        .incoming()
        .for_each_concurrent(CONNECTIONS, |stream| {
            let sources = Arc::clone(&sources);
            async move {
                match stream {
                    Ok(stream) => converse(stream, &sources).await,
                    Err(error) => {
                        warn!(%error, "a connection to the side port was not accepted");
                        task::sleep(PAUSE).await;
                    }
                }
            }
        })
        .await;
}

/// Answers one connection.
async fn converse(stream: TcpStream, sources: &Sources) {
    // Who is gone already is told nothing.
    let Ok(peer) = stream.peer_addr() else {
        return;
    };
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(match request.uri().path().starts_with(orders::PATHS) {
            true => orders::respond(request, peer, sources).await,
            false => respond(&request, sources).await,
        })
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(FuturesIo::new(stream), service);
    match future::timeout(PATIENCE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to the side port broke"),
        Err(_) => debug!("a connection to the side port took too long"),
    }
}

async fn respond(request: &Request<Incoming>, sources: &Sources) -> Answer {
    if request.method() != Method::GET {
        return answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET only\n");
    }
    match request.uri().path() {
        "/" => answer(StatusCode::OK, HTML, PAGE),
        "/healthz" => match future::timeout(ANSWER, sources.node.inspect()).await {
            Ok(Ok(_)) => answer(StatusCode::OK, TEXT, "ok\n"),
            _ => stuck(),
        },
        "/readyz" => {
            with(sources, |gathered| {
                let status = match gathered.is_ready() {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                };
                answer(status, JSON, gathered.readiness())
            })
            .await
        }
        "/status" => {
            with(sources, |gathered| {
                answer(StatusCode::OK, JSON, gathered.status())
            })
            .await
        }
        "/metrics" => {
            with(sources, |gathered| match metrics::text(gathered) {
                Ok(text) => answer(StatusCode::OK, OPEN_METRICS, text),
                Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no metrics\n"),
            })
            .await
        }
        _ => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /, /healthz, /readyz, /status, /metrics and /admin/\n",
        ),
    }
}

/// Gathers everything and answers from it.
async fn with(sources: &Sources, make: impl FnOnce(Gathered) -> Answer) -> Answer {
    match Gathered::from(sources).await {
        Some(gathered) => make(gathered),
        None => stuck(),
    }
}

fn stuck() -> Answer {
    answer(
        StatusCode::SERVICE_UNAVAILABLE,
        TEXT,
        "the engine does not answer\n",
    )
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
