//! What strangers write to Redis.

use parlor_core::secret::Secret;
use parlor_relay_redis::payload::{Codec, MAX_PAYLOAD, VERSION};

use crate::world::{CLUSTER, Event, Node, changed, redis, secret, user};

#[test]
fn forged_and_unknown_payloads_are_counted_and_ignored() {
    let (_folder, redis) = redis(&[]);
    let node = Node::open(&redis.url());
    node.subscribe(1, &[user(1)]);
    let channel = format!("parlor:{CLUSTER}:user:1");
    let other = format!("parlor:{CLUSTER}:user:2");
    let codec = Codec::new(&secret());
    let stranger = Codec::new(&Secret::new("another secret of 32 bytes or so"));
    let genuine = codec.encode(&channel, &changed(1)).unwrap();
    let mut tampered = genuine.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let mut later = genuine.clone();
    later[0] = VERSION + 1;
    let forged = [
        stranger.encode(&channel, &changed(2)).unwrap(),
        codec.encode(&other, &changed(3)).unwrap(),
        tampered,
        Vec::new(),
        vec![VERSION],
        vec![VERSION; 17],
        vec![VERSION; MAX_PAYLOAD + 1],
    ];
    let unknown = [later, b"hello".to_vec()];
    let client = redis::Client::open(redis.url()).unwrap();
    let mut client = client.get_connection().unwrap();
    for payload in forged.iter().chain(&unknown).chain([&genuine]) {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&channel).arg(payload.as_slice());
        publish.exec(&mut client).unwrap();
    }
    node.until_event(&Event::Relayed(changed(1)));
    let counts = node.counts();
    assert_eq!((counts.forged, counts.unknown, counts.received), (7, 2, 1));
    assert_eq!(node.relayed(), [changed(1)]);
}
