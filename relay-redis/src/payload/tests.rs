use std::sync::Arc;

use parlor_core::id::{ConversationId, GroupId, MAX_INTEGER, Pair, Place, Seq, SessionId, UserId};
use parlor_core::log::{Body, Entry, GroupChange, JoinPolicy, Role, Text};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::{MAX_META_BYTES, MAX_TEXT_BYTES};
use parlor_core::relay::RelayMessage;
use parlor_core::secret::Secret;
use parlor_core::time::Timestamp;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{collection, option};

use super::{Codec, HEADER, MAX_PAYLOAD, Rejected, VERSION, check};

const CHANNEL: &str = "parlor:0123:user:7";

fn codec() -> Codec {
    Codec::new(&Secret::new("a secret of at least 32 bytes ..."))
}

/// Signs kind and fields as a node would.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = [&[0; HEADER], body].concat();
    codec().seal(CHANNEL, &mut payload).unwrap();
    payload
}

fn read(payload: &[u8]) -> Result<RelayMessage, Rejected> {
    codec().decode(CHANNEL.as_bytes(), payload)
}

fn changed() -> RelayMessage {
    RelayMessage::Changed {
        user: UserId(7),
        version: 300,
    }
}

fn message(body: Body) -> RelayMessage {
    RelayMessage::Entry(Arc::new(Entry {
        conversation: ConversationId(70_000),
        place: Place::Direct(Pair::new(UserId(9), UserId(7)).unwrap()),
        seq: Seq(3),
        from: UserId(9),
        at: Timestamp(1_700_000_000_000),
        body,
    }))
}

#[test]
fn a_payload_has_these_bytes() {
    let payload = codec().encode(CHANNEL, &changed()).unwrap();
    assert_eq!(payload[0], VERSION);
    // Computed with Python: hmac.new(key, b"\x01" + struct.pack(">Q", 18) + channel + body, "sha256")
    // where key = hmac.new(secret, b"parlor relay payload", "sha256").
    assert_eq!(payload[1..HEADER], TAG_OF_CHANGED);
    // Kind 2; field 0: 7; field 2: 300 = 0b10_0101100.
    assert_eq!(payload[HEADER..], [2, 0, 7, 4, 0xac, 2]);
    assert_eq!(read(&payload), Ok(changed()));
}

const TAG_OF_CHANGED: [u8; 16] = [
    40, 180, 143, 197, 109, 12, 238, 179, 22, 155, 164, 67, 177, 74, 171, 76,
];

#[test]
fn an_entry_has_these_fields() {
    let text = Text {
        key: Key::new("k").unwrap(),
        text: "hi".into(),
        reply_to: None,
        meta: None,
        edited: true,
        recalled: false,
    };
    let payload = codec().encode(CHANNEL, &message(Body::Text(text))).unwrap();
    let fields: &[&[u8]] = &[
        &[1],
        &[0, 0xf0, 0xa2, 4],
        &[2, 7, 4, 9],
        &[8, 3],
        &[10, 9],
        &[12, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31],
        &[14, 1],
        &[17, 1, b'k', 19, 2, b'h', b'i', 24, 1],
    ];
    assert_eq!(payload[HEADER..], fields.concat());
}

#[test]
fn whatever_was_changed_is_forged() {
    let payload = codec().encode(CHANNEL, &changed()).unwrap();
    for index in 0..payload.len() {
        for bit in 0..8 {
            let mut other = payload.clone();
            other[index] ^= 1 << bit;
            let expected = match index {
                0 => Rejected::Unknown,
                _ => Rejected::Forged,
            };
            assert_eq!(read(&other), Err(expected), "bit {bit} of byte {index}");
        }
        assert!(read(&payload[..index]).is_err(), "cut to {index}");
    }
    let longer = [payload.as_slice(), &[0]].concat();
    assert_eq!(read(&longer), Err(Rejected::Forged));
    assert_eq!(read(&[]), Err(Rejected::Forged));
}

#[test]
fn another_channel_or_secret_is_forged() {
    let payload = codec().encode(CHANNEL, &changed()).unwrap();
    let moved = codec().decode(b"parlor:0123:user:8", &payload);
    assert_eq!(moved, Err(Rejected::Forged));
    let stranger = Codec::new(&Secret::new("another secret of 32 bytes or so"));
    let read = stranger.decode(CHANNEL.as_bytes(), &payload);
    assert_eq!(read, Err(Rejected::Forged));
}

#[test]
fn the_boundary_of_channel_and_body_is_signed() {
    let codec = codec();
    let mut one = [&[0; HEADER], b"ab".as_slice()].concat();
    codec.seal("x", &mut one).unwrap();
    let mut other = [&[0; HEADER], b"b".as_slice()].concat();
    codec.seal("xa", &mut other).unwrap();
    assert_ne!(one[..HEADER], other[..HEADER]);
}

#[test]
fn what_another_version_may_write_is_unknown_or_skipped() {
    // A field of another version, between, behind, and beyond those that are kept.
    let with_more = [2, 0, 7, 3, 2, 9, 9, 4, 0xac, 2, 40, 5, 0xfe, 1];
    assert_eq!(read(&sealed(&with_more)), Ok(changed()));
    for (body, what) in [
        (&[200, 0, 7][..], "a kind"),
        (&[][..], "no kind"),
        (&[2, 0, 7], "a field is missing"),
        (&[2, 1, 1, 7, 4, 1], "a number is a text"),
        (&[2, 4, 1, 0, 7], "fields descend"),
        (&[2, 0, 7, 0, 7, 4, 1], "a field comes twice"),
        (&[2, 0, 7, 4], "a number is missing"),
        (&[2, 0, 7, 4, 0x80], "a number is cut short"),
        (&[2, 0, 0x87, 0, 4, 1], "a number is longer than need be"),
        (
            &[2, 0, 7, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            "a number is too large",
        ),
        (
            &[2, 0, 255, 255, 255, 255, 255, 255, 255, 255, 1, 4, 1],
            "an identifier is too large",
        ),
        (&[2, 0, 7, 4, 1, 7, 5, 1], "a text is cut short"),
        (&[4, 0, 7, 2, 1, 8, 9, 10, 7], "a pair is not in order"),
        (&[4, 0, 7, 2, 1, 8, 7, 10, 7], "a pair of one"),
        (&[6, 0, 7, 2, 1, 18, 5, 21, 1, 0xff], "no UTF-8"),
        (&[6, 0, 7, 2, 1, 18, 5, 21, 1, b' '], "no name"),
        (
            &[1, 0, 1, 6, 1, 8, 1, 10, 1, 12, 1, 14, 99],
            "a kind of entry",
        ),
        (
            &[
                1, 0, 1, 6, 1, 8, 1, 10, 1, 12, 1, 14, 7, 30, 2, 33, 4, b'k', b'i', b'n', b'g',
            ],
            "a role",
        ),
        (
            &[1, 0, 1, 6, 1, 8, 1, 10, 1, 12, 1, 14, 1, 17, 0, 19, 0],
            "an empty key",
        ),
    ] {
        assert_eq!(read(&sealed(body)), Err(Rejected::Unknown), "{what}");
    }
}

#[test]
fn the_longest_message_fits_and_a_longer_one_is_not_written() {
    let with = |text: usize| {
        message(Body::Text(Text {
            key: Key::new(&"k".repeat(64)).unwrap(),
            text: "t".repeat(text).into(),
            reply_to: Some(Seq(MAX_INTEGER)),
            meta: Some("m".repeat(MAX_META_BYTES).into()),
            edited: true,
            recalled: true,
        }))
    };
    let longest = with(MAX_TEXT_BYTES);
    let payload = codec().encode(CHANNEL, &longest).unwrap();
    assert_eq!(read(&payload), Ok(longest));
    let longer = codec().encode(CHANNEL, &with(MAX_TEXT_BYTES + 1)).unwrap();
    assert_eq!(read(&longer), Err(Rejected::Unknown));
    assert_eq!(codec().encode(CHANNEL, &with(MAX_PAYLOAD)), None);
    let too_long = vec![VERSION; MAX_PAYLOAD + 1];
    assert_eq!(read(&too_long), Err(Rejected::Forged));
}

#[test]
fn the_corpus_of_the_fuzz_target_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/relay_payload");
    let mut files = 0;
    let mut taken = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        check(&bytes);
        files += 1;
        taken += usize::from(read(&sealed(&bytes)).is_ok());
    }
    assert!(
        files > taken && taken >= 10,
        "{taken} of {files} are messages"
    );
}

#[test]
fn the_key_is_not_printed() {
    assert_eq!(format!("{:?}", codec()), "Codec(..)");
}

fn id() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, Just(MAX_INTEGER), 0..=MAX_INTEGER]
}

fn pair() -> impl Strategy<Value = Pair> {
    (id(), id()).prop_filter_map("two users", |(one, other)| {
        Pair::new(UserId(one), UserId(other))
    })
}

fn name() -> impl Strategy<Value = Name> {
    "[a-zé0-9\u{1f600} ]{1,32}".prop_filter_map("a name", |text| Name::new(&text).ok())
}

fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        4 => ".{0,40}",
        1 => collection::vec(any::<char>(), 0..4000).prop_map(String::from_iter),
    ]
    .prop_map(Arc::from)
}

fn body() -> impl Strategy<Value = Body> {
    let user = || id().prop_map(UserId);
    let seq = || id().prop_map(Seq);
    let key = "[ -~]{1,64}".prop_map(|key| Key::new(&key).unwrap());
    let message = (
        key,
        text(),
        option::of(seq()),
        option::of(text()),
        any::<[bool; 2]>(),
    );
    let role = proptest::sample::select(Role::ALL);
    let join = option::of(proptest::sample::select(JoinPolicy::ALL));
    let short = option::of("[ -~]{0,1024}".prop_map(Arc::from));
    prop_oneof![
        message.prop_map(|(key, text, reply_to, meta, [edited, recalled])| {
            Body::Text(Text {
                key,
                text,
                reply_to,
                meta: meta.filter(|meta| meta.len() <= MAX_META_BYTES),
                edited,
                recalled,
            })
        }),
        (seq(), option::of(text())).prop_map(|(target, text)| Body::Edit { target, text }),
        seq().prop_map(|target| Body::Recall { target }),
        user().prop_map(|user| Body::Joined { user }),
        user().prop_map(|user| Body::Left { user }),
        user().prop_map(|user| Body::Removed { user }),
        (user(), role).prop_map(|(user, role)| Body::Role { user, role }),
        (option::of(name()), short, join).prop_map(|(name, description, join)| {
            Body::Updated(GroupChange {
                name,
                description,
                join,
            })
        }),
        Just(Body::Disbanded),
    ]
}

fn entry() -> impl Strategy<Value = RelayMessage> {
    let place = prop_oneof![
        pair().prop_map(Place::Direct),
        id().prop_map(|group| Place::Group(GroupId(group))),
    ];
    (place, body(), [id(), id(), id(), id()]).prop_map(
        |(place, body, [conversation, seq, from, at])| {
            RelayMessage::Entry(Arc::new(Entry {
                conversation: ConversationId(conversation),
                place,
                seq: Seq(seq),
                from: UserId(from),
                at: Timestamp(at),
                body,
            }))
        },
    )
}

fn other() -> impl Strategy<Value = RelayMessage> {
    let user = || id().prop_map(UserId);
    let group = || id().prop_map(GroupId);
    let origin = any::<u64>;
    prop_oneof![
        (user(), any::<u64>()).prop_map(|(user, version)| RelayMessage::Changed { user, version }),
        (option::of(pair()), [id(), id(), id(), id(), id()], origin()).prop_map(
            |(pair, [conversation, to, user, delivered, read], origin)| RelayMessage::Receipt {
                conversation: ConversationId(conversation),
                pair,
                to: UserId(to),
                user: UserId(user),
                delivered: Seq(delivered),
                read: Seq(read),
                origin,
            }
        ),
        (pair(), user(), origin()).prop_map(|(pair, user, origin)| RelayMessage::TypingDirect {
            pair,
            user,
            origin
        }),
        (group(), user(), origin()).prop_map(|(group, user, origin)| RelayMessage::TypingGroup {
            group,
            user,
            origin
        }),
        (group(), name(), user(), origin()).prop_map(|(group, name, user, origin)| {
            RelayMessage::Requested {
                group,
                name,
                user,
                origin,
            }
        }),
        user().prop_map(|user| RelayMessage::AskAbout { user }),
        (origin(), any::<u64>())
            .prop_map(|(origin, line)| RelayMessage::Heartbeat { origin, line }),
        origin().prop_map(|origin| RelayMessage::Leaving { origin }),
        (user(), id(), id()).prop_map(|(user, session, at)| RelayMessage::Resumed {
            user,
            session: SessionId(session),
            at: Timestamp(at),
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in prop_oneof![entry(), other()]) {
        let payload = codec().encode(CHANNEL, &message).unwrap();
        check(&payload[HEADER..]);
        assert_eq!(read(&payload), Ok(message));
    }

    #[test]
    fn any_bytes_hold(bytes in collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }
}
