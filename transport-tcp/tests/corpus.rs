//! Every file of the fuzzer's corpus of streams keeps what the framing promises, without a fuzzer.

use std::fs;
use std::path::Path;

#[test]
fn streams() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/deframe");
    let mut count = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        // Shown where the file fails.
        println!("{}", path.display());
        parlor_transport_tcp::sim::deframe(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is gone");
}
