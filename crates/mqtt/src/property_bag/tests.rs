use proptest::prelude::*;

use super::*;

#[track_caller]
fn pairs(text: &str) -> Vec<(String, Option<String>)> {
    let bag = PropertyBag::parse(text).unwrap();
    bag.iter()
        .map(|(key, value)| (key.to_owned(), value.map(str::to_owned)))
        .collect()
}

fn pair(key: &str, value: &str) -> (String, Option<String>) {
    (key.to_owned(), Some(value.to_owned()))
}

#[test]
fn bare_keys_and_empty_values_differ() {
    assert_eq!(pairs("a&b="), [("a".to_owned(), None), pair("b", "")]);
}

#[test]
fn system_keys_read_the_same_raw_and_encoded() {
    assert_eq!(
        pairs("$.mid=1&%24.cid=2"),
        [pair("$.mid", "1"), pair("$.cid", "2")]
    );
}

#[test]
fn plus_is_a_plus_and_only_the_first_equals_sign_splits() {
    assert_eq!(pairs("a=1+1=2"), [pair("a", "1+1=2")]);
}

#[test]
fn values_are_decoded_once_only() {
    assert_eq!(
        pairs("%24.ct=application%252Fjson"),
        [pair("$.ct", "application%2Fjson")]
    );
}

#[test]
fn empty_pairs_are_passed_over() {
    assert_eq!(pairs(""), []);
    assert_eq!(pairs("&a=1&&b=2&"), [pair("a", "1"), pair("b", "2")]);
}

#[test]
fn what_cannot_be_decoded_is_an_error() {
    for text in ["a=%", "a=%4", "%zz=1", "a=%4g", "a=%+1", "a=%é"] {
        assert_eq!(
            PropertyBag::parse(text),
            Err(BagError::PercentEncoding),
            "{text}"
        );
    }
    assert_eq!(PropertyBag::parse("a=%ff"), Err(BagError::InvalidUtf8));
}

#[test]
fn setting_a_key_replaces_every_pair_under_it() {
    let mut bag = PropertyBag::parse("a=1&b=2&a=3").unwrap();
    bag.set("a", "4");
    assert_eq!(bag.encode(), "b=2&a=4");
    assert_eq!(bag.content_bytes(), 4);
}

#[test]
fn everything_but_unreserved_characters_is_encoded() {
    let bag: PropertyBag = [("$.to", Some("/a b&c=d%e#f+g?h")), ("ü~_-.", None)]
        .into_iter()
        .collect();
    assert_eq!(
        bag.encode(),
        "%24.to=%2Fa%20b%26c%3Dd%25e%23f%2Bg%3Fh&%C3%BC~_-."
    );
}

proptest! {
    #[test]
    fn decoding_an_encoded_bag_gives_it_back(
        pairs in prop::collection::vec((".{1,12}", prop::option::of(".{0,12}")), 0..8),
    ) {
        let bag: PropertyBag = pairs.into_iter().collect();
        prop_assert_eq!(PropertyBag::parse(&bag.encode()).unwrap(), bag);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,64}") {
        let _ = PropertyBag::parse(&text);
    }

    #[test]
    fn percent_heavy_text_decodes_as_the_library_does(text in "[%0-9a-fgA-F=&]{0,24}") {
        if let Ok(decoded) = decode(&text) {
            prop_assert_eq!(decoded, percent_decode_str(&text).decode_utf8().unwrap());
        }
    }
}
