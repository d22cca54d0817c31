use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    Value::decode(&mut Reader::new(bytes))
}

fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// Any value, three levels deep, with arrays of one type.
fn any_value() -> impl Strategy<Value = Value> {
    any_scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
            (inner.clone(), 0..4_usize).prop_map(|(item, count)| {
                let items = vec![item.clone(); count];
                Array::new(items).map_or(item, Value::Array)
            }),
            (inner.clone(), inner).prop_map(|(descriptor, value)| {
                Value::Described(Box::new(Described { descriptor, value }))
            }),
        ]
    })
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        prop_oneof![0..300_u32, any::<u32>()].prop_map(Value::Uint),
        prop_oneof![0..300_u64, any::<u64>()].prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        any::<i32>().prop_map(Value::Int),
        any::<i64>().prop_map(Value::Long),
        any::<i16>().prop_map(|number| Value::Float(f32::from(number))),
        any::<i32>().prop_map(|number| Value::Double(f64::from(number))),
        any::<[u8; 4]>().prop_map(Value::Decimal32),
        any::<[u8; 8]>().prop_map(Value::Decimal64),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(|millis| Value::Timestamp(Timestamp(millis))),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        proptest::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| Value::Binary(Bytes::from(bytes))),
        proptest::collection::vec(any::<char>(), 0..100)
            .prop_map(|text| Value::String(text.into_iter().collect())),
        proptest::collection::vec(0..128_u8, 0..300).prop_map(|text| {
            let text = String::from_utf8(text).expect("ASCII is UTF-8");
            Value::Symbol(Symbol::new(text).expect("drawn from ASCII"))
        }),
    ]
}

proptest! {
    #[test]
    fn every_value_survives_a_round_trip(value in any_value()) {
        let bytes = encode(&value);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Value::decode(&mut reader), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn skip_passes_over_exactly_one_value(value in any_value()) {
        let mut bytes = encode(&value);
        let length = bytes.len();
        bytes.push(0xff);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.skip().map(<[u8]>::len), Ok(length));
        prop_assert_eq!(reader.rest(), &[0xff]);
    }

    #[test]
    fn every_truncation_is_an_error(value in any_value()) {
        let bytes = encode(&value);
        for length in 0..bytes.len() {
            prop_assert!(decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = Reader::new(&bytes).skip();
        let _ = Vec::<Symbol>::decode(&mut Reader::new(&bytes));
        let _ = Vec::<(Symbol, Value)>::decode(&mut Reader::new(&bytes));
    }
}

#[test]
fn shortest_encodings_are_those_of_the_standard() {
    let cases: [(Value, &[u8]); 10] = [
        (Value::Boolean(true), &[0x41]),
        (Value::Uint(0), &[0x43]),
        (Value::Uint(255), &[0x52, 0xff]),
        (Value::Uint(256), &[0x70, 0, 0, 1, 0]),
        (Value::Ulong(0), &[0x44]),
        (Value::Ulong(7), &[0x53, 7]),
        (Value::List(vec![]), &[0x45]),
        (Value::from("ab"), &[0xa1, 2, b'a', b'b']),
        (Value::List(vec![Value::Null]), &[0xc0, 2, 1, 0x40]),
        (
            Value::Map(vec![(Value::Uint(0), Value::Null)]),
            &[0xc1, 3, 2, 0x43, 0x40],
        ),
    ];
    for (value, bytes) in cases {
        assert_eq!(encode(&value), bytes);
        assert_eq!(decode(bytes), Ok(value));
    }
}

#[test]
fn alternative_encodings_are_read() {
    assert_eq!(decode(&[0x56, 1]), Ok(Value::Boolean(true)));
    assert_eq!(decode(&[0x54, 0xff]), Ok(Value::Int(-1)));
    assert_eq!(decode(&[0x55, 0x80]), Ok(Value::Long(-128)));
    assert_eq!(
        decode(&[0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x40]),
        Ok(Value::List(vec![Value::Null]))
    );
    assert_eq!(decode(&[0x80, 0, 0, 0, 0, 0, 0, 0, 9]), Ok(Value::Ulong(9)));
}

#[test]
fn nesting_stops_at_its_limit() {
    let mut bytes = vec![0x40];
    for _ in 0..MAX_DEPTH {
        let length = u8::try_from(bytes.len() + 1).unwrap();
        bytes = [vec![0xc0, length, 1], bytes].concat();
    }
    assert!(decode(&bytes).is_ok());
    let length = u8::try_from(bytes.len() + 1).unwrap();
    bytes = [vec![0xc0, length, 1], bytes].concat();
    assert_eq!(decode(&bytes), Err(DecodeError::TooDeep));
}

#[test]
fn thousands_of_nested_lists_or_descriptors_do_not_exhaust_the_stack() {
    let mut lists = Vec::new();
    for level in 0..20_000_u32 {
        lists.extend([0xd0]);
        lists.extend((u32::MAX - level * 9).to_be_bytes());
        lists.extend(1_u32.to_be_bytes());
    }
    assert!(decode(&lists).is_err());
    let described = vec![0x00; 50_000];
    assert_eq!(decode(&described), Err(DecodeError::TooDeep));
    assert_eq!(Reader::new(&described).skip(), Err(DecodeError::TooDeep));
}

#[test]
fn counts_beyond_the_bytes_left_are_refused_before_any_element() {
    // A list of 2^32 - 1 nulls in a body of no bytes.
    assert_eq!(
        decode(&[0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
        Err(DecodeError::BadCompound)
    );
    // An array of as many `true`, which need no bytes at all.
    assert_eq!(
        decode(&[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x41]),
        Err(DecodeError::BadCompound)
    );
    assert_eq!(decode(&[0xe0, 2, 3, 0x45]), Err(DecodeError::BadCompound));
}

#[test]
fn announced_lengths_are_not_believed() {
    assert_eq!(
        decode(&[0xb0, 0x7f, 0xff, 0xff, 0xff, 1]),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        decode(&[0xf0, 0xff, 0xff, 0xff, 0xff]),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn text_outside_its_character_set_is_refused() {
    assert_eq!(decode(&[0xa1, 1, 0xff]), Err(DecodeError::BadText));
    assert_eq!(decode(&[0xa3, 2, 0xc3, 0xa4]), Err(DecodeError::BadText));
    assert_eq!(
        decode(&[0x73, 0, 0, 0xd8, 0]),
        Err(DecodeError::OutOfRange("char"))
    );
}

#[test]
fn symbol_with_blanks_is_read() {
    let mut bytes = vec![0xa3, 23];
    bytes.extend(b"Rejected by application");
    let symbol = Value::Symbol(Symbol::from_static("Rejected by application"));
    assert_eq!(decode(&bytes), Ok(symbol));
}

#[test]
fn binaries_of_a_shared_buffer_are_not_copied() {
    let buffer = Bytes::from(encode(&Value::Binary(Bytes::from_static(&[1, 2, 3]))));
    let value = Value::decode(&mut Reader::over(&buffer)).unwrap();
    let Value::Binary(binary) = value else {
        panic!("no binary")
    };
    assert_eq!(binary.as_ptr(), buffer[2..].as_ptr());
}

#[test]
fn arrays_take_one_type_only() {
    assert_eq!(Array::new(vec![Value::Null]), Err(MixedArray));
    assert_eq!(
        Array::new(vec![Value::Uint(1), Value::Ulong(1)]),
        Err(MixedArray)
    );
    assert!(Array::new(vec![Value::Uint(1), Value::Uint(500)]).is_ok());
}

#[test]
fn scalars_have_the_text_devices_see() {
    let uuid = Value::Uuid([
        0x1a, 0xe0, 0x03, 0xe4, 0x61, 0xfb, 0x4b, 0xc1, 0x92, 0x10, 0x1e, 0x16, 0x35, 0x35, 7, 9,
    ]);
    assert_eq!(
        uuid.to_scalar_text().unwrap(),
        "1ae003e4-61fb-4bc1-9210-1e1635350709"
    );
    assert_eq!(Value::Boolean(true).to_scalar_text().unwrap(), "true");
    assert_eq!(Value::Int(-3).to_scalar_text().unwrap(), "-3");
    assert_eq!(Value::Null.to_scalar_text(), None);
    assert_eq!(Value::List(vec![]).to_scalar_text(), None);
}
