//! Orders of operators, over HTTP: looks are `GET`, and what changes something is `POST`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_std::future::timeout;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use parlor::Node;
use parlor_core::engine::{Order, OrderDone, SessionHere, StepKind};
use parlor_core::id::{ConnectionId, GroupId, Pair, Place, Seq, UserId};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::UserRef;
use parlor_core::protocol::{ErrorCode, PASSWORD_BYTES, RequestError};
use parlor_core::secret::Secret;
use parlor_core::store::{MessageRef, StoredEntry};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::authority::Denied;
use super::wire::{self, json};
use super::{Answer, COUNT, JSON, ORDER, Sources, answer};

/// The most bytes of what an operator says.
const BODY: usize = 16 * 1024;

/// The most bytes of an announcement.
const ANNOUNCEMENT: usize = 2048;

/// The sessions of one page, unless something else is said, and at most.
const PAGE: usize = 1000;
const MOST: usize = 10_000;

/// Where orders are taken.
pub(super) const PATHS: &str = "/admin/";

const READS: [&str; 3] = ["/admin/sessions", "/admin/account", "/admin/message"];
const CHANGES: [&str; 6] = [
    "/admin/end",
    "/admin/lock",
    "/admin/unlock",
    "/admin/password",
    "/admin/announce",
    "/admin/drain",
];

/// Why an order was not carried out.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The method that there is, where it was asked for with another.
    allowed: Option<Method>,
    retry_ms: Option<u64>,
}

/// Answers an order.
pub(super) async fn respond<B>(request: Request<B>, peer: SocketAddr, sources: &Sources) -> Answer
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = request.uri().path().to_owned();
    let done = async {
        sources.authority.check(request.headers(), peer)?;
        let allowed = method(&path)?;
        if request.method() != allowed {
            return Err(Refused::method(allowed));
        }
        match allowed {
            Method::GET => look(&path, request.uri().query(), sources).await,
            _ => change(&path, request, sources).await,
        }
    };
    match done.await {
        Ok((status, body)) => {
            if CHANGES.contains(&path.as_str()) {
                info!(%peer, path, "an operator's order was carried out: {body}");
            }
            answer(status, JSON, body)
        }
        Err(refused) => refused.into_answer(&path, peer),
    }
}

/// Returns the method of a path.
fn method(path: &str) -> Result<Method, Refused> {
    match (READS.contains(&path), CHANGES.contains(&path)) {
        (true, _) => Ok(Method::GET),
        (_, true) => Ok(Method::POST),
        _ => {
            let paths = [&READS[..], &CHANGES[..]].concat().join(", ");
            let message = format!("there are {paths}");
            Err(Refused::new(StatusCode::NOT_FOUND, "no_such_path", message))
        }
    }
}

type Done = Result<(StatusCode, String), Refused>;

async fn look(path: &str, query: Option<&str>, sources: &Sources) -> Done {
    let mut query = Query::parse(query.unwrap_or_default())?;
    let order = match path {
        "/admin/sessions" => Order::Sessions {
            after: query.number("after")?.map(ConnectionId),
            limit: query.number("limit")?.unwrap_or(PAGE).clamp(1, MOST),
        },
        "/admin/account" => Order::Account(who(query.number("user")?, query.take("name"))?),
        _ => Order::Message(message(&mut query)?),
    };
    query.end()?;
    told(order, sources).await
}

/// Reads which message is meant.
fn message(query: &mut Query) -> Result<MessageRef, Refused> {
    if let Some(key) = query.take("key") {
        let from = who(query.number("from")?, query.take("from_name"))?;
        let key = Key::new(&key).ok_or_else(|| bad("`key` has 1 to 64 bytes"))?;
        return Ok(MessageRef::Key { from, key });
    }
    let group = query.number("group")?.map(GroupId);
    let users = query.take("users");
    let seq = query.number("seq")?.map(Seq);
    let place = match (group, users) {
        (Some(group), None) => Some(Place::Group(group)),
        (None, Some(users)) => pair(&users).map(Place::Direct),
        _ => None,
    };
    match (place, seq) {
        (Some(place), Some(seq)) => Ok(MessageRef::Entry { place, seq }),
        _ => Err(bad(
            "name `from` (or `from_name`) and `key`, or `seq` and one of `group` and `users` (two numbers)",
        )),
    }
}

fn pair(users: &str) -> Option<Pair> {
    let (one, other) = users.split_once(',')?;
    Pair::new(UserId(one.parse().ok()?), UserId(other.parse().ok()?))
}

async fn change<B>(path: &str, request: Request<B>, sources: &Sources) -> Done
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let kind = request.headers().get(CONTENT_TYPE);
    // A web page cannot send that elsewhere without asking first.
    if kind.is_none_or(|kind| kind != JSON) {
        let message = format!("send the order as {JSON}");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refused::new(status, "bad_request", message));
    }
    let body = Limited::new(request.into_body(), BODY).collect().await;
    let body = body.map_err(|_| {
        let message = format!("an order has at most {BODY} bytes");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    })?;
    let body = body.to_bytes();
    let account = || {
        let wire::Who { user, name } = read(&body)?;
        who(user, name)
    };
    let order = match path {
        "/admin/end" => Order::EndSessions(account()?),
        "/admin/lock" => Order::Lock(account()?),
        "/admin/unlock" => Order::Unlock(account()?),
        "/admin/password" => password(&body)?,
        "/admin/announce" => return announce(&body, sources).await,
        _ => {
            let wire::Nothing {} = read(&body)?;
            // Where it was asked for before, it drains.
            let _asked = sources.drain.try_send(());
            let draining = json(&wire::Draining { draining: true });
            return Ok((StatusCode::ACCEPTED, draining));
        }
    };
    told(order, sources).await
}

fn password(body: &[u8]) -> Result<Order, Refused> {
    let wire::NewPassword {
        user,
        name,
        password,
    } = read(body)?;
    if !PASSWORD_BYTES.contains(&password.len()) {
        let (least, most) = (PASSWORD_BYTES.start(), PASSWORD_BYTES.end());
        return Err(bad(&format!("a password has {least} to {most} bytes")));
    }
    Ok(Order::ResetPassword {
        who: who(user, name)?,
        password: Secret::new(password),
    })
}

async fn announce(body: &[u8], sources: &Sources) -> Done {
    let wire::Announcement { message } = read(body)?;
    if message.trim().is_empty() || message.len() > ANNOUNCEMENT {
        return Err(bad(&format!("a message has 1 to {ANNOUNCEMENT} bytes")));
    }
    let announce = Order::Announce(Arc::from(message));
    let OrderDone::Announced { connections } = carry_out(announce, &sources.node, ORDER).await?
    else {
        return Err(Refused::silent());
    };
    // The announcement is made; who asked is told so, whether or not the nodes could be counted.
    let node = timeout(COUNT, sources.node.inspect()).await;
    let other_nodes = match node {
        Ok(Ok(snapshot)) => snapshot.counts.nodes,
        _ => 0,
    };
    let announced = wire::Announced {
        connections,
        other_nodes,
    };
    Ok((StatusCode::OK, json(&announced)))
}

async fn told(order: Order, sources: &Sources) -> Done {
    let body = match carry_out(order, &sources.node, ORDER).await? {
        OrderDone::Sessions { sessions, more } => {
            let sessions = sessions.iter().map(here).collect();
            json(&wire::Sessions { sessions, more })
        }
        OrderDone::Account { account, here: at } => json(&wire::Account {
            user: account.user.0,
            name: account.name.to_string(),
            locked: account.locked,
            sessions: account
                .sessions
                .into_iter()
                .map(|(session, row)| wire::Session {
                    session: session.0,
                    device: row.device.map(Into::into),
                    created: row.created.0,
                    expires: row.expires.0,
                })
                .collect(),
            here: at.iter().map(here).collect(),
        }),
        OrderDone::Message { entry, steps } => json(&wire::Message {
            entry: stored(&entry),
            steps: steps.iter().map(|it| step(it.at.0, it.what)).collect(),
        }),
        OrderDone::Supervised { user, ended } => json(&wire::Supervised {
            user: user.0,
            ended,
        }),
        OrderDone::Announced { .. } => return Err(Refused::silent()),
    };
    Ok((StatusCode::OK, body))
}

async fn carry_out(order: Order, node: &Node, limit: Duration) -> Result<OrderDone, Refused> {
    match timeout(limit, node.order(order)).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => Err(error.into()),
        Ok(Err(ended)) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(Refused::new(status, "shutting_down", ended.to_string()))
        }
        Err(_) => Err(Refused::silent()),
    }
}

fn here(session: &SessionHere) -> wire::Here {
    wire::Here {
        user: session.user.0,
        name: session.name.to_string(),
        session: session.session.0,
        connection: session.connection.0,
        since: session.since.0,
        behind: session.behind,
    }
}

fn stored(entry: &StoredEntry) -> wire::Entry {
    let (group, users) = match entry.place {
        Place::Group(group) => (Some(group.0), None),
        Place::Direct(pair) => (None, Some([pair.low().0, pair.high().0])),
    };
    wire::Entry {
        group,
        users,
        seq: entry.seq.0,
        from: entry.from.0,
        at: entry.at.0,
    }
}

fn step(at: u64, what: StepKind) -> wire::Step {
    let (what, to) = match what {
        StepKind::Stored => ("stored", None),
        StepKind::Published => ("published", None),
        StepKind::Withheld => ("withheld", None),
        StepKind::Relayed => ("relayed", None),
        StepKind::Pushed {
            connection,
            session,
        } => ("pushed", Some((connection, session))),
    };
    let session = to.and_then(|(_, session)| session);
    wire::Step {
        at,
        what: what.to_owned(),
        connection: to.map(|(connection, _)| connection.0),
        user: session.map(|(user, _)| user.0),
        session: session.map(|(_, session)| session.0),
    }
}

/// Reads which account is meant.
fn who(user: Option<u64>, name: Option<String>) -> Result<UserRef, Refused> {
    match (user, name) {
        (Some(user), None) => Ok(UserRef::Id(UserId(user))),
        (None, Some(name)) => match Name::new(&name) {
            Ok(name) => Ok(UserRef::Name(name)),
            Err(error) => Err(bad(&format!("a name {error}"))),
        },
        _ => Err(bad("name a user by number or by name, one of the two")),
    }
}

/// Reads an order; what is in it is not repeated, since it may be a password.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        bad(&format!(
            "that is no such order, in line {line}, column {column}"
        ))
    })
}

fn bad(message: &str) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "bad_request", message.to_owned())
}

/// What stands after the `?` of an address.
struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut query = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if query.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(bad(&format!("`{name}` is there twice")));
            }
        }
        Ok(Self(query))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Refused> {
        let number = self.take(name).map(|text| text.parse());
        number
            .transpose()
            .map_err(|_| bad(&format!("`{name}` is a number")))
    }

    /// Looks that nothing is left over.
    fn end(self) -> Result<(), Refused> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(bad(&format!("`{name}` does not belong here"))),
        }
    }
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
            allowed: None,
            retry_ms: None,
        }
    }

    fn method(allowed: Method) -> Self {
        let message = format!("{allowed} only");
        Self {
            allowed: Some(allowed),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_method", message)
        }
    }

    /// Nothing was heard in time.
    fn silent() -> Self {
        let message = "the node did not answer in time; the order may be carried out all the same";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message.to_owned())
    }

    fn into_answer(self, path: &str, peer: SocketAddr) -> Answer {
        let Self {
            status,
            code,
            message,
            allowed,
            retry_ms,
        } = self;
        warn!(%peer, path, code, "an operator's order was refused");
        let error = wire::Refusal {
            code: code.to_owned(),
            message,
        };
        let mut answer = answer(status, JSON, json(&wire::Refused { error }));
        let headers = answer.headers_mut();
        if let Some(allow) = allowed.and_then(|it| HeaderValue::from_str(it.as_str()).ok()) {
            headers.insert(ALLOW, allow);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry) = retry_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry.div_ceil(1000)));
        }
        answer
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let (status, code) = match denied {
            Denied::TokenMissing | Denied::TokenWrong => (StatusCode::UNAUTHORIZED, "bad_token"),
            Denied::Elsewhere | Denied::Renamed => (StatusCode::FORBIDDEN, "forbidden"),
        };
        Self::new(status, code, denied.to_string())
    }
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        let status = match error.code {
            ErrorCode::NoSuchUser | ErrorCode::NoSuchMessage => StatusCode::NOT_FOUND,
            ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ErrorCode::Busy | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        };
        // The engine's sentences speak of keys to clients.
        let message = match error.code {
            ErrorCode::Busy => "the node has too much to do; repeat the order".to_owned(),
            ErrorCode::Unavailable => {
                "the store cannot be reached, or did not say what happened; repeat the order"
                    .to_owned()
            }
            _ => error.message.into_owned(),
        };
        Self {
            retry_ms: error.retry_ms,
            ..Self::new(status, error.code.as_str(), message)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_std::task::block_on;
    use parlor::Node;
    use parlor_core::engine::{Config, Order};
    use parlor_core::id::StoreToken;
    use parlor_core::secret::Secret;
    use parlor_core::store::{Store, StoreRequest};

    use super::{Query, carry_out, message};
    use parlor_core::id::{GroupId, Pair, Place, Seq, UserId};
    use parlor_core::name::{Key, Name};
    use parlor_core::protocol::request::UserRef;
    use parlor_core::store::MessageRef;

    fn read(text: &str) -> Result<MessageRef, String> {
        let refused = |refused: super::Refused| refused.message;
        let mut query = Query::parse(text).map_err(refused)?;
        let message = message(&mut query).map_err(refused)?;
        query.end().map_err(refused)?;
        Ok(message)
    }

    #[test]
    fn a_message_is_named_by_its_key_or_its_place() {
        let place = Place::Group(GroupId(7));
        let seq = Seq(3);
        assert_eq!(read("group=7&seq=3"), Ok(MessageRef::Entry { place, seq }));
        let place = Place::Direct(Pair::new(UserId(1), UserId(2)).unwrap());
        assert_eq!(
            read("users=2,1&seq=3"),
            Ok(MessageRef::Entry { place, seq })
        );
        let key = Key::new("a b&c").unwrap();
        let from = UserRef::Name(Name::new("Zoë").unwrap());
        assert_eq!(
            read("from_name=Zo%C3%AB&key=a+b%26c"),
            Ok(MessageRef::Key { from, key })
        );
        for (text, complaint) in [
            ("", "name `from`"),
            ("group=7", "name `from`"),
            ("users=1,1&seq=3", "name `from`"),
            ("users=1,2&group=7&seq=3", "name `from`"),
            ("group=x&seq=3", "`group` is a number"),
            ("group=7&group=7&seq=3", "`group` is there twice"),
            ("group=7&seq=3&verbose=1", "`verbose` does not belong here"),
            ("key=k", "by number or by name"),
            ("from=1&from_name=a&key=k", "by number or by name"),
            ("from=1&key=", "`key` has"),
            ("from=1&key=k&group=7", "`group` does not belong here"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    /// A store that never answers.
    struct Mute;

    impl Store for Mute {
        fn submit(&self, _: Vec<(StoreToken, StoreRequest)>) {}
    }

    #[test]
    fn an_order_that_takes_too_long_is_said_to() {
        let config = Config::new(Secret::new("a secret of at least 32 bytes ..."));
        let node = Node::builder().start(config, Mute);
        let order = |limit| {
            let order = Order::Lock(UserRef::Id(UserId(1)));
            let refused = block_on(carry_out(order, &node, limit)).unwrap_err();
            (refused.status.as_u16(), refused.code)
        };
        assert_eq!(order(Duration::from_millis(20)), (504, "timeout"));
        node.stop();
        block_on(node.wait()).unwrap();
        let hang = Duration::from_secs(60);
        assert_eq!(order(hang), (503, "shutting_down"));
    }
}
