//! A private nginx with the configuration that operators copy.

use std::fs;
use std::path::Path;

use parlor_servers::Nginx;

/// The committed file, as nginx is to read it here: on a port of 127.0.0.1, with these nodes.
pub(crate) fn configuration(port: u16, nodes: &[u16]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nginx.conf");
    let mut lines = Vec::new();
    let (mut listening, mut named) = (0, 0);
    for line in fs::read_to_string(path).unwrap().lines() {
        if let Some(rest) = line.strip_prefix("        listen 6000 ") {
            listening += 1;
            lines.push(format!("        listen 127.0.0.1:{port} {rest}"));
        } else if let Some(rest) = line.strip_prefix("        server 10.0.0.") {
            let (_, options) = rest.split_once(":6000 ").expect("a port");
            named += 1;
            if named == 1 {
                let each = |node| format!("        server 127.0.0.1:{node} {options}");
                lines.extend(nodes.iter().map(each));
            }
        } else {
            lines.push(line.to_owned());
        }
    }
    assert_eq!((listening, named), (1, 2), "deploy/nginx.conf has changed");
    lines.push(String::new());
    lines.join("\n")
}

/// Starts nginx with that configuration, in a folder of its own.
pub(crate) fn nginx(folder: &Path, nodes: &[u16]) -> Nginx {
    let folder = folder.join("nginx");
    Nginx::start(&folder, |port| configuration(port, nodes))
        .unwrap_or_else(|error| panic!("{error}"))
}
