//! Lists, and where a frame's limit cuts them.

use crate::protocol::MAX_SERVER_FRAME;
use crate::protocol::event::Message;
use crate::protocol::json::write::Object;
use crate::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, InviteItem, Listing, MemberItem, OnlineFriend,
    UserItem,
};

/// What follows the last item of a page.
const TAIL: usize = r#"],"more":false}}"#.len();

/// Something that stands in a list.
pub(super) trait Item {
    /// Appends the item.
    fn write(&self, out: &mut Vec<u8>);
}

/// Writes a page; what does not fit follows later.
pub(super) fn page<T: Item>(
    name: &'static str,
    page: &Listing<T>,
    start: usize,
    out: &mut Vec<u8>,
) {
    first(name, &page.items, page.more, start, out);
}

/// Writes an object with a list of as many of the first items as fit, and `more`.
pub(super) fn first<T: Item>(
    name: &'static str,
    items: &[T],
    more: bool,
    start: usize,
    out: &mut Vec<u8>,
) {
    let mut object = Object::begin(out);
    let written = fill(items, page_end(start), object.open_list(name));
    finish(object, more || written < items.len());
}

/// Writes an object with a list of as many of the last items as fit, and `more`.
pub(super) fn last<T: Item>(
    name: &'static str,
    items: &[T],
    more: bool,
    start: usize,
    out: &mut Vec<u8>,
) {
    let mut object = Object::begin(out);
    let list = object.open_list(name);
    let begin = list.len();
    let mut kept = items;
    if fill(items, page_end(start), list) < items.len() {
        list.truncate(begin);
        kept = fitting_tail(items, page_end(start).saturating_sub(begin));
        fill(kept, page_end(start), list);
    }
    finish(object, more || kept.len() < items.len());
}

/// Writes items up to the buffer's length `end` and returns how many.
pub(super) fn fill<T: Item>(items: &[T], end: usize, out: &mut Vec<u8>) -> usize {
    for (index, item) in items.iter().enumerate() {
        let before = out.len();
        if index > 0 {
            out.push(b',');
        }
        item.write(out);
        if out.len() > end {
            out.truncate(before);
            return index;
        }
    }
    items.len()
}

/// Returns how many bytes a list of all the items takes, a comma with each; stops counting once that
/// is more than a frame.
pub(super) fn size<T: Item>(items: &[T]) -> usize {
    let mut scratch = Vec::new();
    let mut size = 0;
    for item in items {
        scratch.clear();
        item.write(&mut scratch);
        size += scratch.len() + 1;
        if size > MAX_SERVER_FRAME {
            break;
        }
    }
    size
}

/// Returns the last items, as many as `room` bytes hold.
fn fitting_tail<T: Item>(items: &[T], room: usize) -> &[T] {
    let mut scratch = Vec::new();
    let mut size = 0;
    let mut from = items.len();
    for (index, item) in items.iter().enumerate().rev() {
        scratch.clear();
        item.write(&mut scratch);
        size += scratch.len() + usize::from(from < items.len());
        if size > room {
            break;
        }
        from = index;
    }
    items.get(from..).unwrap_or_default()
}

/// Returns the length that the buffer may have before a page's tail.
const fn page_end(start: usize) -> usize {
    start.saturating_add(MAX_SERVER_FRAME).saturating_sub(TAIL)
}

fn finish(mut object: Object<'_>, more: bool) {
    object.close_list();
    object.boolean("more", more).end();
}

impl Item for Message {
    fn write(&self, out: &mut Vec<u8>) {
        super::event::message(self, out);
    }
}

impl Item for OnlineFriend {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .integer("user", self.user.0)
            .string("name", self.name.as_str())
            .boolean("online", self.online)
            .end();
    }
}

impl Item for UserItem {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .integer("user", self.user.0)
            .string("name", self.name.as_str())
            .end();
    }
}

impl Item for FriendItem {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .integer("user", self.user.0)
            .string("name", self.name.as_str())
            .string("state", self.state.as_str())
            .maybe_boolean("online", self.online)
            .end();
    }
}

impl Item for GroupItem {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .integer("group", self.group.0)
            .string("name", self.name.as_str())
            .string("role", self.role.as_str())
            .end();
    }
}

impl Item for InviteItem {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .integer("group", self.group.0)
            .string("name", self.name.as_str())
            .integer("by", self.by.0)
            .end();
    }
}

impl Item for MemberItem {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .integer("user", self.user.0)
            .string("name", self.name.as_str())
            .string("role", self.role.as_str())
            .maybe_boolean("online", self.online)
            .end();
    }
}

impl Item for ConversationItem {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .conversation("in", self.conversation)
            .integer("last", self.last.0)
            .integer("delivered", self.delivered.0)
            .integer("read", self.read.0)
            .maybe_integer(
                "peer_delivered",
                self.peer.map(|(delivered, _)| delivered.0),
            )
            .maybe_integer("peer_read", self.peer.map(|(_, read)| read.0))
            .end();
    }
}
