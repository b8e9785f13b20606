//! TLS to MariaDB.

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_std::task::block_on;
use parlor_servers::Certificate;
use parlor_storage::{Options, SqlStore};
use tempfile::TempDir;

use common::server::{Fresh, Private};
use common::{no_sink, open_url, options, pair, send, seq};

#[test]
fn certificates_are_checked() {
    let folder = TempDir::new().unwrap();
    let make = |name| Certificate::make(&folder.path().join(name)).unwrap();
    let (ours, other) = (make("ours"), make("other"));
    let database = Fresh::on(Arc::new(Private::start(&[
        &format!("--ssl-ca={}", ours.authority.display()),
        &format!("--ssl-cert={}", ours.certificate.display()),
        &format!("--ssl-key={}", ours.key.display()),
        "--require-secure-transport=ON",
    ])));
    let url = |mode: &str, certificate: &Certificate| {
        let authority = certificate.authority.display();
        format!("{}?ssl-mode={mode}&ssl-ca={authority}", database.url)
    };
    for mode in ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"] {
        block_on(async {
            let store = open_url(&url(mode, &ours), options()).await;
            store.cluster().await.unwrap();
            store.close().await;
        });
    }
    let refused = |url: &str| {
        let quick = Options {
            timeout: Duration::from_secs(3),
            ..options()
        };
        match block_on(SqlStore::open(url, quick, no_sink())) {
            Ok(_) => panic!("{url} was opened"),
            Err(error) => error.to_string(),
        }
    };
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        let text = refused(&url(mode, &other));
        assert!(text.contains("certificate"), "{mode}: {text}");
    }
    // The certificate is for an address, not for this name.
    let name = url("VERIFY_IDENTITY", &ours).replace("@127.0.0.1:", "@localhost:");
    let text = refused(&name);
    assert!(text.contains("certificate"), "{text}");
    // How the server refuses who speaks without TLS: so the others did not.
    let text = refused(&url("DISABLED", &ours));
    assert!(text.contains("Access denied"), "{text}");

    block_on(async {
        let store = open_url(&url("VERIFY_CA", &ours), options()).await;
        let (ann, _, place) = pair(&store).await;
        assert_eq!(seq(store.execute(send(ann, place, "a")).await).0, 1);
        store.close().await;
    });
}
