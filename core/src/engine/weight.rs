//! About how many bytes something takes on the wire: the unit of credit.

use crate::log::Body;
use crate::protocol::{Event, Reply, RequestError};

const FRAME: usize = 160;
const ITEM: usize = 96;

pub(super) fn of_reply(result: &Result<Reply, RequestError>) -> u32 {
    let bytes = match result {
        Err(_) => FRAME,
        Ok(reply) => match reply {
            Reply::Session(session) => {
                let items = session.friends.len()
                    + session.requests.len()
                    + session.groups.len()
                    + session.invites.len()
                    + session.conversations.len();
                4 * FRAME + items * ITEM
            }
            Reply::Friends(list) => list.items.len() * ITEM,
            Reply::Members(list) => list.items.len() * ITEM,
            Reply::Requests(list) => list.items.len() * ITEM,
            Reply::Groups(list) => list.items.len() * ITEM,
            Reply::Conversations(list) => list.items.len() * ITEM,
            Reply::Group(group) => FRAME + group.description.len(),
            Reply::History { messages, .. } => messages
                .iter()
                .map(|message| FRAME + text_bytes(&message.body))
                .sum(),
            _ => FRAME,
        },
    };
    saturate(bytes.max(FRAME))
}

pub(super) fn of_event(event: &Event) -> u32 {
    match event {
        Event::Message(message) => of_entry(&message.body),
        _ => saturate(FRAME),
    }
}

fn of_entry(body: &Body) -> u32 {
    saturate(FRAME + text_bytes(body))
}

fn text_bytes(body: &Body) -> usize {
    match body {
        Body::Text(text) => text.text.len() + text.meta.as_ref().map_or(0, |meta| meta.len()),
        Body::Edit { text, .. } => text.as_ref().map_or(0, |text| text.len()),
        Body::Updated(change) => change.description.as_ref().map_or(0, |text| text.len()),
        _ => 0,
    }
}

fn saturate(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
