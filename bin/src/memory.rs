//! Memory that nobody uses any more, given back to the system.

use std::time::Duration;

use async_std::task;
use parlor::Node;
use tracing::debug;

/// How often the node's connections are counted.
const INTERVAL: Duration = Duration::from_secs(5);

/// How many connections have to be gone for it to be worth the while.
const MANY: u64 = 250;

/// Gives memory back whenever most of many connections have gone, until the node ends.
///
/// The GNU allocator gives back only what is free behind the last thing in use. After a wave of
/// connections that thing is almost always something small and lasting, so without a word the
/// process would stay as large as it ever was.
pub(crate) async fn watch(node: Node) {
    let mut seen = 0;
    while let Ok(snapshot) = node.inspect().await {
        let connections = snapshot.counts.connections as u64;
        if have_gone(&mut seen, snapshot.tally.connections, connections) {
            // A heap of a gigabyte takes some tenths of a second.
            task::spawn_blocking(give_back).await;
            debug!(connections, "gave free memory back");
        }
        task::sleep(INTERVAL).await;
    }
}

/// Tells whether of the connections that came, many and as many as there are now have gone since
/// this was last the case; `seen` is how many had gone then.
fn have_gone(seen: &mut u64, came: u64, now: u64) -> bool {
    let gone = came - now;
    let many = gone - *seen >= now.max(MANY);
    if many {
        *seen = gone;
    }
    many
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    #[expect(
        unsafe_code,
        reason = "malloc_trim(3) takes any thread at any time, and the standard library has nothing like it"
    )]
    // SAFETY: it takes no pointer, and locks what it looks at.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators have their own ways.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::have_gone;

    #[test]
    fn many_and_most_have_to_go() {
        let mut seen = 0;
        for (came, now, gone) in [
            (249, 0, false),
            (250, 0, true),
            (250, 0, false),
            // A wave between two looks.
            (10_250, 0, true),
            (11_250, 501, false),
            (11_250, 500, true),
            (11_750, 750, false),
            (11_751, 500, true),
        ] {
            assert_eq!(have_gone(&mut seen, came, now), gone, "{came} {now}");
        }
    }
}
