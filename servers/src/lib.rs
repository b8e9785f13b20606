//! Private MariaDB, Redis and nginx servers: for tests, and for a developer's cluster.
//!
//! ```no_run
//! # fn main() -> Result<(), parlor_servers::ServerError> {
//! let mut database = parlor_servers::MariaDb::start("/tmp/example/mariadb".as_ref(), &[])?;
//! let url = database.create_database("parlor")?; // mysql://user:password@127.0.0.1:port/parlor
//! database.server.kill9()?;
//! database.server.restart()?; // the same port and data
//! # Ok(()) }
//! ```
//!
//! Each server lives in a folder of its own, its log included, and listens on 127.0.0.1 only. None
//! reads the machine's configuration, and no server that happens to run is ever touched.
//!
//! - **Ready means ready.** `start` returns once the server answers its own protocol, or says why it
//!   does not, with the end of its log.
//! - **Ports** are random and below the range from which the system takes the ports of outgoing
//!   connections: there, a client that keeps trying to reach a dead server would in the end reach
//!   itself, and the server could not come back. Where another process is faster to take a port,
//!   another is tried.
//! - **They end with their owner.** [`Server`] ends its process when it is dropped. Where the owner is
//!   killed, the kernel does it: processes are started through `setpriv --pdeathsig` (package
//!   util-linux), since asking for that signal directly needs unsafe code. The signal follows the
//!   *thread* that started the process, so one thread that never ends starts them all.
//! - **Missing programs** are [`ServerError::Missing`], which names the Debian package.

#![forbid(unsafe_code)]

mod certificate;
mod error;
mod mariadb;
mod nginx;
mod port;
mod program;
mod redis;
mod server;
mod spawn;

pub use certificate::Certificate;
pub use error::ServerError;
pub use mariadb::MariaDb;
pub use nginx::{Nginx, balancer, stream_module};
pub use port::free_port;
pub use program::find;
pub use redis::client::{RedisClient, Reply};
pub use redis::cluster::RedisCluster;
pub use redis::sentinel::RedisSentinel;
pub use redis::single::Redis;
pub use server::{END, Launch, Server};
