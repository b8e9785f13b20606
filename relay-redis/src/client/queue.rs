//! A queue that is bounded in number and in bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_channel::{Receiver, Sender};

/// What waits, and how many bytes it has. Bytes count until they are given back.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
    /// Taken in and not given back.
    held: AtomicUsize,
    bytes: AtomicUsize,
    most_bytes: usize,
}

impl<T> Queue<T> {
    /// Makes a queue that holds so much.
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        let (sender, receiver) = async_channel::bounded(most.max(1));
        Self {
            sender,
            receiver,
            held: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            most_bytes,
        }
    }

    /// Takes something in, unless the queue is full; says whether it did. Never waits.
    pub(crate) fn push(&self, item: T, bytes: usize) -> bool {
        self.held.fetch_add(1, Ordering::AcqRel);
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let taken = before < self.most_bytes && self.sender.try_send(item).is_ok();
        if !taken {
            self.give_back(1, bytes);
        }
        taken
    }

    /// Waits for the next.
    pub(crate) async fn pop(&self) -> Option<T> {
        self.receiver.recv().await.ok()
    }

    /// Returns the next, if there is one.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Says that what was popped is done with.
    pub(crate) fn give_back(&self, items: usize, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.held.fetch_sub(items, Ordering::AcqRel);
    }

    /// Tells whether everything is done with.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn it_is_bounded_in_number() {
        let queue = Queue::new(2, 100);
        assert!(queue.push(1, 1) && queue.push(2, 1));
        assert!(!queue.push(3, 1));
        assert_eq!(queue.try_pop(), Some(1));
        assert!(queue.push(4, 1));
    }

    #[test]
    fn it_is_bounded_in_bytes_until_they_are_given_back() {
        let queue = Queue::new(10, 100);
        assert!(queue.push(1, 100));
        assert!(!queue.push(2, 1));
        assert_eq!(queue.try_pop(), Some(1));
        assert!(!queue.push(2, 1));
        assert!(!queue.is_idle());
        queue.give_back(1, 100);
        assert!(queue.is_idle());
        assert!(queue.push(2, 1));
    }
}
