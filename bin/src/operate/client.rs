//! One request to one node's side port.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use async_std::future::timeout;
use async_std::net::TcpStream;
use futures::FutureExt as _;
use futures::future::{Either, pending, select};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use parlor_core::secret::Secret;
use serde::de::DeserializeOwned;
use smol_hyper::rt::FuturesIo;
use thiserror::Error;

use crate::admin::wire;

/// How long a node has to answer: longer than the side port waits for its engine and store.
const ANSWER: Duration = Duration::from_secs(15);

/// The most bytes of an answer.
const BODY: usize = 64 << 20;

/// What to ask, of any node.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    /// The path and what follows it.
    pub(super) path: String,
    /// The order, in JSON; a password may be in it.
    pub(super) body: Secret,
}

/// Why a node has not answered.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(
        "cannot be reached: {0}; is it started with --admin, and is this the address that it prints as `watched at`?"
    )]
    Unreachable(std::io::Error),
    #[error("has not answered within {} seconds", ANSWER.as_secs())]
    Silent,
    #[error("has broken the connection: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    #[error("has not answered as a side port of parlor does ({0}); is this its address?")]
    Strange(StatusCode),
    #[error("{message} ({code})")]
    Refused { code: String, message: String },
    #[error("the token cannot be sent: it has characters that no header takes")]
    Token,
}

impl Failure {
    /// Tells whether the node has surely done nothing, so that another may be asked.
    pub(super) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

impl Question {
    pub(super) fn look(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: Secret::new(""),
        }
    }

    pub(super) fn order(path: &str, body: &impl serde::Serialize) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            body: Secret::new(wire::json(body)),
        }
    }

    /// Asks a node.
    ///
    /// # Errors
    /// Says why there is no answer, as the rest of a sentence that begins with the node.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        node: &str,
        token: Option<&Secret>,
    ) -> Result<T, Failure> {
        let answered = timeout(ANSWER, self.exchange(node, token)).await;
        let (status, body) = answered.map_err(|_| Failure::Silent)??;
        // A node that is not ready says how it is all the same.
        if let Ok(answer) = serde_json::from_slice(&body) {
            return Ok(answer);
        }
        match serde_json::from_slice(&body) {
            Ok(wire::Refused { error }) => Err(Failure::Refused {
                code: error.code,
                message: error.message,
            }),
            Err(_) => Err(Failure::Strange(status)),
        }
    }

    async fn exchange(
        &self,
        node: &str,
        token: Option<&Secret>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let broken = |error: hyper::Error| Failure::Broken(Box::new(error));
        let stream = TcpStream::connect(node)
            .await
            .map_err(Failure::Unreachable)?;
        let io = FuturesIo::new(stream);
        let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
        let request = self.request(node, token)?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), BODY).collect().await;
            let body = body.map_err(Failure::Broken)?.to_bytes();
            Ok((status, body))
        };
        // The connection's end says less than what was asked for and did not come.
        let driven = connection.then(|_| pending::<Infallible>());
        match select(pin!(answer), pin!(driven)).await {
            Either::Left((answered, _)) => answered,
            Either::Right((never, _)) => match never {},
        }
    }

    fn request(&self, node: &str, token: Option<&Secret>) -> Result<Request<Full<Bytes>>, Failure> {
        let body = Full::new(Bytes::copy_from_slice(self.body.expose().as_bytes()));
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        let path = self.path.parse();
        *request.uri_mut() = path.map_err(|error| Failure::Broken(Box::new(error)))?;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(node);
        headers.insert(
            HOST,
            host.map_err(|error| Failure::Broken(Box::new(error)))?,
        );
        if self.method == Method::POST {
            let json = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| Failure::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}
