//! Parlor as a library: the async node, which runs the engine of `parlor-core` with a store,
//! perhaps a relay, and any number of front-ends.
//!
//! A front-end connects in one of two ways: as a [`node::Transport`], which yields connections of
//! frames that carry the protocol's JSON ([`parlor_transport_tcp::Listener`] is one); or from within
//! the process, by [`Node::connect`], with typed requests, replies and events.
//!
//! ```no_run
//! # async fn run(store: impl parlor_core::store::Store) -> Result<(), Box<dyn std::error::Error>> {
//! use parlor::Node;
//! use parlor_core::engine::Config;
//! use parlor_core::secret::Secret;
//! use parlor_transport_tcp::{Listener, ListenerOptions};
//!
//! let builder = Node::builder();
//! // Open the store with `builder.sink()`: that is where it answers.
//! let listener = Listener::bind("127.0.0.1:6000", ListenerOptions::default()).await?;
//! let config = Config::new(Secret::new("at least 32 bytes that nobody knows"));
//! let node = builder.transport(listener).start(config, store);
//! // ... and when it is time to end:
//! node.drain();
//! node.wait().await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod node;

pub use node::{
    AskError, Builder, Ended, LocalConnection, Node, NodeError, Received, Sink, Snapshot,
};
