//! Connections to the servers of a relay: one, or one for each master of a Redis Cluster.

use std::sync::Arc;

use async_channel::Receiver;
use futures::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, PushInfo, PushKind, RedisError, Value};

use crate::client::channel::{SLOTS, slot};
use crate::client::endpoint::{Endpoint, Kind};
use crate::client::error::{OpenError, Trouble};
use crate::client::options::Options;

/// Takes what a server says unasked, and tells whether the connections may stay. It must not wait.
pub(crate) type Pushes = Arc<dyn Fn(PushInfo) -> bool + Send + Sync>;

/// How many commands may be on their way into a connection at once.
const PIPELINE: usize = 256;

/// Connections to every server that has channels. Clones share them; they close with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Shards {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    relay: String,
    kind: Kind,
    connections: Vec<MultiplexedConnection>,
    /// Which connection has which slots; nothing where there is one for all.
    ranges: Vec<Range>,
    /// Rings when a connection is gone.
    gone: Receiver<()>,
}

/// The slots from `first` to `last` are those of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    server: (String, u16),
    connection: usize,
}

impl Shards {
    /// Connects to every server that has channels.
    ///
    /// # Errors
    /// Says whether waiting may help.
    pub(crate) async fn connect(
        endpoint: &Endpoint,
        options: &Options,
        pushes: Pushes,
    ) -> Result<Self, Trouble> {
        let (ring, gone) = async_channel::bounded(1);
        let connector = Connector {
            endpoint,
            options,
            pushes: Arc::new(move |info| {
                let is_gone = info.kind == PushKind::Disconnection || !pushes(info);
                if is_gone {
                    // Fails when it rings already.
                    let _ = ring.try_send(());
                }
                !is_gone
            }),
        };
        // If no seed answers as it should, a refusal counts for more than an absence.
        let mut worst = Trouble::Away("there is no host".to_owned());
        for (host, port) in &endpoint.seeds {
            let connected = match &endpoint.kind {
                Kind::Single => connector.single(host, *port).await,
                Kind::Sentinel { master } => connector.master(host, *port, master).await,
                Kind::Cluster => connector.cluster(host, *port).await,
            };
            match connected {
                Ok((connections, ranges)) => {
                    let inner = Arc::new(Inner {
                        relay: endpoint.shown.clone(),
                        kind: endpoint.kind.clone(),
                        connections,
                        ranges,
                        gone,
                    });
                    return Ok(Self { inner });
                }
                Err(trouble) => {
                    if matches!(worst, Trouble::Away(_)) {
                        worst = trouble;
                    }
                }
            }
        }
        Err(worst)
    }

    /// Sorts things by the connection that has their channel.
    pub(crate) fn sort<T>(
        &self,
        things: impl IntoIterator<Item = (String, T)>,
    ) -> Vec<(MultiplexedConnection, Vec<(String, T)>)> {
        let connections = &self.inner.connections;
        let mut sorted: Vec<Vec<(String, T)>> = Vec::new();
        sorted.resize_with(connections.len(), Vec::new);
        for (channel, thing) in things {
            if let Some(list) = sorted.get_mut(self.connection_of(&channel)) {
                list.push((channel, thing));
            }
        }
        let pairs = connections.iter().cloned().zip(sorted);
        pairs.filter(|(_, list)| !list.is_empty()).collect()
    }

    /// Tells whether channels belong to slots.
    pub(crate) fn sharded(&self) -> bool {
        self.inner.kind == Kind::Cluster
    }

    /// Waits until a connection is gone.
    pub(crate) async fn gone(&self) -> Trouble {
        // It fails when all connections are gone: their pushes hold the other end.
        let _ = self.inner.gone.recv().await;
        Trouble::Away("the connection broke".to_owned())
    }

    /// Finds out whether every server answers and is still what it was.
    pub(crate) async fn ping(&self) -> Result<(), Trouble> {
        let Inner {
            kind, connections, ..
        } = &*self.inner;
        let mut asked = Vec::with_capacity(connections.len());
        for connection in connections {
            asked.push(self.is_same(kind, connection.clone()));
        }
        let answers: Result<Vec<bool>, RedisError> = try_join_all(asked).await;
        match answers {
            Ok(answers) if answers.iter().all(|same| *same) => Ok(()),
            Ok(_) => Err(Trouble::Away(
                "another server has become the master".to_owned(),
            )),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    async fn is_same(
        &self,
        kind: &Kind,
        mut connection: MultiplexedConnection,
    ) -> Result<bool, RedisError> {
        match kind {
            Kind::Single => redis::cmd("PING").exec_async(&mut connection).await?,
            Kind::Sentinel { .. } => return is_master(&mut connection).await,
            Kind::Cluster => {
                let found = slots(&mut connection).await?;
                return Ok(self.covers(&found));
            }
        }
        Ok(true)
    }

    /// Finds out whether one may publish to a channel, subscribe to it, and ask about it.
    pub(crate) async fn probe(&self, channel: &str) -> Result<(), Trouble> {
        let channels = [(channel.to_owned(), ())];
        for (mut connection, _) in self.sort(channels) {
            let mut pipeline = Pipeline::new();
            let (publish, subscribe, unsubscribe, count) = if self.sharded() {
                ("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE", "SHARDNUMSUB")
            } else {
                ("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", "NUMSUB")
            };
            pipeline.cmd(publish).arg(channel).arg("");
            pipeline.cmd(subscribe).arg(channel);
            pipeline.cmd(unsubscribe).arg(channel);
            pipeline.cmd("PUBSUB").arg(count).arg(channel);
            let answers = connection.send_packed_commands(&pipeline, 0, 4).await;
            let answers = answers.and_then(|answers| {
                answers
                    .into_iter()
                    .try_for_each(|it| it.extract_error().map(drop))
            });
            answers.map_err(|error| self.trouble(&error))?;
        }
        Ok(())
    }

    /// Sorts what went wrong with one of the connections.
    pub(crate) fn trouble(&self, error: &RedisError) -> Trouble {
        Trouble::new(&self.inner.relay, error)
    }

    fn connection_of(&self, channel: &str) -> usize {
        let ranges = &self.inner.ranges;
        if ranges.is_empty() {
            return 0;
        }
        let slot = slot(channel);
        let index = ranges.partition_point(|range| range.last < slot);
        ranges.get(index).map_or(0, |range| range.connection)
    }

    /// Tells whether the slots are where they were.
    fn covers(&self, found: &[(u16, u16, (String, u16))]) -> bool {
        let ranges = &self.inner.ranges;
        ranges.len() == found.len()
            && ranges
                .iter()
                .zip(found)
                .all(|(range, (first, last, _))| (range.first, range.last) == (*first, *last))
            && ranges.iter().zip(found).all(|(range, (_, _, server))| {
                // A server that does not know its own address names none.
                server.0.is_empty() || range.server == *server
            })
    }
}

/// The connections, and which of them has which slots.
type Connected = (Vec<MultiplexedConnection>, Vec<Range>);

/// What connecting needs.
struct Connector<'a> {
    endpoint: &'a Endpoint,
    options: &'a Options,
    pushes: Pushes,
}

impl Connector<'_> {
    /// Opens one connection.
    async fn open(
        &self,
        client: redis::RedisResult<Client>,
        pushes: Option<&Pushes>,
    ) -> Result<MultiplexedConnection, Trouble> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.reply_timeout))
            .set_pipeline_buffer_size(PIPELINE);
        if let Some(pushes) = pushes.map(Arc::clone) {
            let take = move |info| if pushes(info) { Ok(()) } else { Err(()) };
            config = config.set_push_sender(take);
        }
        let opened = async {
            client?
                .get_multiplexed_async_connection_with_config(&config)
                .await
        };
        opened
            .await
            .map_err(|error| Trouble::new(&self.endpoint.shown, &error))
    }

    /// Connects to the one server.
    async fn single(&self, host: &str, port: u16) -> Result<Connected, Trouble> {
        let server = self.endpoint.server(host, port);
        Ok((
            vec![self.open(server, Some(&self.pushes)).await?],
            Vec::new(),
        ))
    }

    /// Asks a sentinel for the master and connects to it.
    async fn master(&self, host: &str, port: u16, name: &str) -> Result<Connected, Trouble> {
        let mut found = self.ask_sentinel(host, port, name, false).await;
        let asks_for_password = matches!(&found, Err(Trouble::Refused(OpenError::Password { .. })));
        if asks_for_password && self.endpoint.has_password() {
            found = self.ask_sentinel(host, port, name, true).await;
        }
        let (host, port) = found?.ok_or_else(|| OpenError::Master {
            relay: self.endpoint.shown.clone(),
        })?;
        let server = self.endpoint.server(&host, port);
        let mut connection = self.open(server, Some(&self.pushes)).await?;
        let master = is_master(&mut connection).await;
        if master.map_err(|error| self.trouble(&error))? {
            Ok((vec![connection], Vec::new()))
        } else {
            let reason = format!("{host}:{port} is not the master yet");
            Err(Trouble::Away(reason))
        }
    }

    /// Asks a sentinel where the master is, with the servers' user and password or without.
    async fn ask_sentinel(
        &self,
        host: &str,
        port: u16,
        name: &str,
        login: bool,
    ) -> Result<Option<(String, u16)>, Trouble> {
        let sentinel = self.endpoint.sentinel(host, port, login);
        let mut sentinel = self.open(sentinel, None).await?;
        redis::cmd("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(name)
            .query_async(&mut sentinel)
            .await
            .map_err(|error| self.trouble(&error))
    }

    /// Asks a member of a cluster which master has which slots, and connects to each.
    async fn cluster(&self, host: &str, port: u16) -> Result<Connected, Trouble> {
        let mut seed = self.open(self.endpoint.server(host, port), None).await?;
        let found = slots(&mut seed).await;
        let found = found.map_err(|error| self.trouble(&error))?;
        let mut servers = Vec::new();
        let mut ranges = Vec::new();
        let mut next = 0;
        for (first, last, mut server) in found {
            if first != next {
                break;
            }
            next = last.saturating_add(1);
            if server.0.is_empty() {
                host.clone_into(&mut server.0);
            }
            let known = servers.iter().position(|known| *known == server);
            let connection = known.unwrap_or(servers.len());
            if known.is_none() {
                servers.push(server.clone());
            }
            ranges.push(Range {
                first,
                last,
                server,
                connection,
            });
        }
        if next != SLOTS {
            return Err(Trouble::Away(format!("no master has slot {next}")));
        }
        let mut opened = Vec::with_capacity(servers.len());
        for (host, port) in &servers {
            opened.push(self.open(self.endpoint.server(host, *port), Some(&self.pushes)));
        }
        Ok((try_join_all(opened).await?, ranges))
    }

    fn trouble(&self, error: &RedisError) -> Trouble {
        Trouble::new(&self.endpoint.shown, error)
    }
}

/// Asks a server whether it is a master.
async fn is_master(connection: &mut MultiplexedConnection) -> Result<bool, RedisError> {
    let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
    Ok(matches!(role.first(), Some(Value::BulkString(role)) if role == b"master"))
}

/// Asks which master has which slots, in ascending order.
async fn slots(
    connection: &mut MultiplexedConnection,
) -> Result<Vec<(u16, u16, (String, u16))>, RedisError> {
    let rows: Vec<Vec<Value>> = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(connection)
        .await?;
    let mut slots = Vec::with_capacity(rows.len());
    for row in rows {
        let mut row = row.into_iter();
        let (Some(first), Some(last), Some(Value::Array(master))) =
            (row.next(), row.next(), row.next())
        else {
            continue;
        };
        let mut master = master.into_iter();
        let (host, port) = (master.next(), master.next());
        let host: Option<String> = redis::from_redis_value(host.unwrap_or(Value::Nil))?;
        slots.push((
            redis::from_redis_value(first)?,
            redis::from_redis_value(last)?,
            (
                host.filter(|host| host != "?").unwrap_or_default(),
                redis::from_redis_value(port.unwrap_or(Value::Nil))?,
            ),
        ));
    }
    slots.sort();
    Ok(slots)
}
