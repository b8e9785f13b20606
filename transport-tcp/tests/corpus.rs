//! Every file of the fuzzer's corpora keeps what the framing and the reading of PROXY headers promise,
//! without a fuzzer.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::fs;
use std::path::Path;

#[test]
fn streams() {
    replay("deframe", parlor_transport_tcp::sim::deframe);
}

#[test]
fn proxy_headers() {
    replay("proxy_header", parlor_transport_tcp::sim::proxy_header);
}

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut count = 0;
    for file in fs::read_dir(folder.join(target)).unwrap() {
        let path = file.unwrap().path();
        // Shown where the file fails.
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is gone");
}
