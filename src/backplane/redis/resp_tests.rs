use proptest::prelude::*;
use redis::Value;

use super::*;

/// A value as a server sends it.
fn encode(value: &Value, out: &mut Vec<u8>) {
    let many = |kind: char, values: &[Value], out: &mut Vec<u8>| {
        out.extend(format!("{kind}{}\r\n", values.len()).bytes());
        values.iter().for_each(|value| encode(value, out));
    };
    match value {
        Value::BulkString(bytes) => {
            out.extend(format!("${}\r\n", bytes.len()).bytes());
            out.extend(bytes);
            out.extend(b"\r\n");
        }
        Value::Int(number) => out.extend(format!(":{number}\r\n").bytes()),
        Value::SimpleString(text) => out.extend(format!("+{text}\r\n").bytes()),
        Value::Boolean(true) => out.extend(b"#t\r\n"),
        Value::Double(number) => out.extend(format!(",{number}\r\n").bytes()),
        Value::Nil => out.extend(b"_\r\n"),
        Value::Array(values) => many('*', values, out),
        Value::Set(values) => many('~', values, out),
        Value::Map(pairs) => {
            out.extend(format!("%{}\r\n", pairs.len()).bytes());
            for (key, value) in pairs {
                encode(key, out);
                encode(value, out);
            }
        }
        other => panic!("not made here: {other:?}"),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::BulkString),
        any::<i64>().prop_map(Value::Int),
        "[a-z ]{0,20}".prop_map(Value::SimpleString),
        Just(Value::Boolean(true)),
        (-100..100_i32).prop_map(|number| Value::Double(number.into())),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Set),
            prop::collection::vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

fn message(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = MESSAGE.to_vec();
    encode(&Value::BulkString(channel.to_vec()), &mut bytes);
    encode(&Value::BulkString(payload.to_vec()), &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn messages_are_read_as_they_are(
        channel in prop::collection::vec(any::<u8>(), 0..40),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let whole = message(&channel, &payload);
        let bytes = [&whole[..], &behind].concat();
        let found = Frame::Message { channel: &channel, payload: &payload, bytes: whole.len() };
        prop_assert_eq!(frame(&bytes), Ok(found));
        for cut in 0..whole.len() {
            prop_assert_eq!(frame(&whole[..cut]), Ok(Frame::Incomplete), "{}", cut);
        }
    }

    /// The end is where the redis crate's parser finds it.
    #[test]
    fn the_end_of_other_frames_is_found(value in value(), behind in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut whole = Vec::new();
        encode(&value, &mut whole);
        prop_assert_eq!(redis::parse_redis_value(&whole).expect("good"), value);
        let bytes = [&whole[..], &behind].concat();
        prop_assert_eq!(frame(&bytes), Ok(Frame::Other { bytes: whole.len() }));
        for cut in 0..whole.len() {
            prop_assert_eq!(frame(&whole[..cut]), Ok(Frame::Incomplete), "{}", cut);
        }
    }

    #[test]
    fn no_bytes_are_a_panic(kind in "[-+:_#,($=!*>~%|]", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = frame(&[kind.as_bytes(), &bytes].concat());
    }
}

#[test]
fn what_is_no_resp_is_not_waited_for() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"$x\r\n",
        b"$5\r\nhello, world",
        b">3\r\n$7\r\nmessage\r\n:1\r\n",
        b">3\r\n$7\r\nmessage\r\n$-1\r\n",
        b"*99999999999999999999999999999999999",
        b"+no carriage return\n",
    ] {
        assert_eq!(frame(bytes), Err(Malformed), "{}", bytes.escape_ascii());
    }
    // An array of more items than there are bytes in the world is waited for, and nothing is allocated for it.
    assert_eq!(frame(b"%9223372036854775807\r\n"), Ok(Frame::Incomplete));
    // RESP2's nulls, and attributes before a value.
    for whole in [
        &b"$-1\r\n"[..],
        b"*-1\r\n",
        b"|1\r\n+key\r\n:1\r\n+value\r\n",
        b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    ] {
        assert_eq!(frame(whole), Ok(Frame::Other { bytes: whole.len() }), "{}", whole.escape_ascii());
    }
}
