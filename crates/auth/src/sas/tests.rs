use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::{AuthFailure, MAX_TOKEN_BYTES, Resource, SasError, SasToken, decode, sign, signature};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER_KEY: &[u8] = b"fedcba9876543210fedcba9876543210";
const HOST: &str = "hub1.example.net";
const EXPIRY: i64 = 1_893_456_000;
const NOW: i64 = EXPIRY - 3_600;
const DEVICE: Resource<'_> = Resource::Device {
    device_id: "dev+1@x",
};
const HUB: Resource<'_> = Resource::Service { path: &[] };

/// The vectors of auth.md §3.4: maker, `sr`, `sig` decoded, what it opens.
const VECTORS: [(&str, &str, &str, Resource<'_>); 6] = [
    (
        "C",
        "hub1.example.net/devices/dev+1@x",
        "dty8khX7FFEWAlgeRJ4hbhT6EIt5LuFU7uRkESMK2y8=",
        DEVICE,
    ),
    (
        "Java",
        "hub1.example.net/devices/dev%2B1%40x",
        "iUmjxngmRLRgpjntOzaVwtLJ/tUtqCajypxs8O2iyhU=",
        DEVICE,
    ),
    (
        "Node, Python",
        "hub1.example.net%2Fdevices%2Fdev%2B1%40x",
        "eAStNy4SX10eYYh7eI5KKjaXgPb/Tu0xZmVoDq/p/FE=",
        DEVICE,
    ),
    (
        "C#",
        "hub1.example.net%2Fdevices%2Fdev%252B1%2540x",
        "3RDAmhU1DvhGh+n4hSw3YWkigllIlZ+ls1uYraDjfM4=",
        DEVICE,
    ),
    (
        "docs, lower-case hex",
        "hub1.example.net%2fdevices%2fdev%2b1%40x",
        "WRniqdqQBCO9PWef0L91uQBzz1AXA+h8p3DhtBWJO7A=",
        DEVICE,
    ),
    (
        "service",
        "hub1.example.net",
        "8r437j4cfAdCvZ9zTv9tIwiKkSknFWI6kuYF4/MJBa0=",
        HUB,
    ),
];

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, super::ENCODED).to_string()
}

fn token(sr: &str, sig: &str, se: &str) -> String {
    format!("SharedAccessSignature sr={sr}&sig={}&se={se}", encode(sig))
}

/// Signs a scope as given, as makers with habits of their own do.
fn signed(sr: &str, key: &[u8]) -> String {
    let se = EXPIRY.to_string();
    token(sr, &STANDARD.encode(signature(key, sr, &se)), &se)
}

fn verify(token: &str, resource: &Resource<'_>, key: &[u8]) -> Result<(), AuthFailure> {
    SasToken::parse(token)
        .unwrap()
        .verify(&[HOST], resource, &[key], NOW)
        .map(|_| ())
}

#[test]
fn every_vector_verifies_with_its_key_only() {
    for (maker, sr, sig, resource) in VECTORS {
        let token = token(sr, sig, "1893456000");
        assert_eq!(verify(&token, &resource, KEY), Ok(()), "{maker}");
        let failure = verify(&token, &resource, OTHER_KEY);
        assert_eq!(failure, Err(AuthFailure::Signature), "{maker}");
    }
}

#[test]
fn every_vector_fails_with_another_expiry() {
    for (maker, sr, sig, resource) in VECTORS {
        let token = token(sr, sig, "1893456001");
        assert_eq!(
            verify(&token, &resource, KEY),
            Err(AuthFailure::Signature),
            "{maker}"
        );
    }
}

#[test]
fn every_vector_fails_when_its_scope_is_encoded_anew_in_transit() {
    for (maker, sr, sig, resource) in VECTORS {
        let other_hex = if sr.contains("%2F") {
            sr.replace("%2F", "%2f")
        } else if sr.contains("%2f") {
            sr.replace("%2f", "%2F")
        } else {
            sr.replace('.', "%2E")
        };
        assert_ne!(other_hex, sr);
        let token = token(&other_hex, sig, "1893456000");
        assert_eq!(
            verify(&token, &resource, KEY),
            Err(AuthFailure::Signature),
            "{maker}"
        );
    }
}

#[test]
fn fields_may_stand_in_any_order_and_case() {
    let (_, sr, sig, resource) = VECTORS[1];
    let sig = encode(sig);
    for text in [
        format!("SharedAccessSignature sig={sig}&se=1893456000&sr={sr}"),
        format!("SharedAccessSignature SE=1893456000&Sr={sr}&SIG={sig}&SKN="),
        format!("SharedAccessSignature sr={sr}&sig={sig}&se=1893456000&later=field"),
    ] {
        assert_eq!(verify(&text, &resource, KEY), Ok(()), "{text}");
    }
}

#[test]
fn signature_is_read_unencoded_and_with_its_plus_signs_lost() {
    let (_, sr, sig, resource) = VECTORS[3];
    assert!(sig.contains('+'));
    let lost = sig.replace('+', " ");
    for sig in [
        sig,
        &encode(sig),
        &lost,
        &sig.replace('/', "%2f"),
        &sig.replace('=', "%3D"),
    ] {
        let text = format!("SharedAccessSignature sr={sr}&sig={sig}&se=1893456000");
        assert_eq!(verify(&text, &resource, KEY), Ok(()), "{sig}");
    }
}

#[test]
fn empty_policy_name_means_the_identity_itself() {
    let plain = signed(HOST, KEY);
    assert_eq!(SasToken::parse(&plain).unwrap().policy(), None);
    let empty = format!("{plain}&skn=");
    assert_eq!(SasToken::parse(&empty).unwrap().policy(), None);
    let named = format!("{plain}&skn=device");
    assert_eq!(SasToken::parse(&named).unwrap().policy(), Some("device"));
    let encoded = format!("{plain}&skn=my%20policy");
    assert_eq!(
        SasToken::parse(&encoded).unwrap().policy(),
        Some("my policy")
    );
}

#[test]
fn secondary_key_works_and_a_replaced_key_does_not() {
    let text = signed(&DEVICE.uri(HOST), KEY);
    let token = SasToken::parse(&text).unwrap();
    let third: &[u8] = &[3; 32];
    assert_eq!(
        token.verify(&[HOST], &DEVICE, &[OTHER_KEY, KEY], NOW),
        Ok(1)
    );
    let failure = token.verify(&[HOST], &DEVICE, &[OTHER_KEY, third], NOW);
    assert_eq!(failure, Err(AuthFailure::Signature));
}

#[test]
fn the_key_that_made_a_signature_is_named_and_the_first_of_two_alike() {
    let text = signed(&DEVICE.uri(HOST), KEY);
    let token = SasToken::parse(&text).unwrap();
    for (keys, signer) in [
        ([KEY, OTHER_KEY], Ok(0)),
        ([OTHER_KEY, KEY], Ok(1)),
        ([KEY, KEY], Ok(0)),
        ([OTHER_KEY, OTHER_KEY], Err(AuthFailure::Signature)),
    ] {
        assert_eq!(token.verify(&[HOST], &DEVICE, &keys, NOW), signer);
        let for_hub = token.verify_for_hub(&[HOST], &keys, NOW);
        assert_eq!(for_hub.map(|(signer, _)| signer), signer);
    }
}

#[test]
fn a_kept_scope_covers_what_its_token_opens() {
    let paths: [&[&str]; 5] = [
        &[],
        &["twins"],
        &["twins", "dev1"],
        &["twins", "dev10"],
        &["devices", "dev1"],
    ];
    for scope in [
        HOST.to_owned(),
        format!("{HOST}/"),
        format!("{HOST}/twins"),
        format!("{HOST}/Twins/DEV1/"),
        format!("{HOST}/twins/dev%2531"),
        format!("{HOST}/devices/dev1/api-version=2016-11-14"),
        encode(&format!("{HOST}/twins/dev10")),
    ] {
        let text = signed(&scope, KEY);
        let token = SasToken::parse(&text).unwrap();
        let (_, kept) = token.verify_for_hub(&[HOST], &[KEY], NOW).unwrap();
        for path in paths {
            let opened = verify(&text, &Resource::Service { path }, KEY);
            assert_eq!(kept.covers(path), opened.is_ok(), "{scope} on {path:?}");
        }
    }
    let elsewhere = signed("hub2.example.net/twins", KEY);
    let token = SasToken::parse(&elsewhere).unwrap();
    let failure = token.verify_for_hub(&[HOST], &[KEY], NOW).unwrap_err();
    assert_eq!(failure, AuthFailure::Host);
    let failure = token.verify_for_hub(&[HOST], &[OTHER_KEY], NOW);
    assert_eq!(failure, Err(AuthFailure::Signature));
}

#[test]
fn a_token_of_a_device_opens_no_module_and_that_of_a_module_no_other() {
    let module = |module_id| Resource::Module {
        device_id: "dev1",
        module_id,
    };
    let device = Resource::Device { device_id: "dev1" };
    // The keys are always those of the identity that is claimed.
    let of_device = signed(&device.uri(HOST), KEY);
    assert_eq!(
        verify(&of_device, &module("m1"), OTHER_KEY),
        Err(AuthFailure::Signature)
    );
    let of_module = signed(&module("m1").uri(HOST), OTHER_KEY);
    assert_eq!(verify(&of_module, &module("m1"), OTHER_KEY), Ok(()));
    assert_eq!(
        verify(&of_module, &module("m2"), OTHER_KEY),
        Err(AuthFailure::Scope)
    );
    assert_eq!(
        verify(&of_module, &device, KEY),
        Err(AuthFailure::Signature)
    );
}

#[test]
fn without_keys_nothing_verifies() {
    let se = EXPIRY.to_string();
    for key in [KEY, &[0; 32], &[]] {
        let text = token(HOST, &STANDARD.encode(signature(key, HOST, &se)), &se);
        let token = SasToken::parse(&text).unwrap();
        assert_eq!(
            token.verify(&[HOST], &HUB, &[], NOW),
            Err(AuthFailure::NoKey)
        );
    }
}

#[test]
fn expiry_is_honoured_with_five_minutes_of_skew() {
    let text = signed(HOST, KEY);
    let token = SasToken::parse(&text).unwrap();
    assert_eq!(token.expires_at_seconds(), EXPIRY);
    for (after, verdict) in [
        (-1_000_000, Ok(0)),
        (299, Ok(0)),
        (300, Ok(0)),
        (301, Err(AuthFailure::Expired)),
    ] {
        assert_eq!(
            token.verify(&[HOST], &HUB, &[KEY], EXPIRY + after),
            verdict,
            "{after}"
        );
    }
}

#[test]
fn expiry_may_have_a_fraction_and_must_be_a_number() {
    for (se, expected) in [
        ("1893456000.75", Ok(1_893_456_000)),
        ("0", Ok(0)),
        ("9223372036854775807", Ok(i64::MAX)),
        ("9223372036854775808", Err(SasError::Expiry)),
        ("-1", Err(SasError::Expiry)),
        ("+1", Err(SasError::Expiry)),
        ("1e9", Err(SasError::Expiry)),
        ("1.", Err(SasError::Expiry)),
        (".5", Err(SasError::Expiry)),
        ("1.2.3", Err(SasError::Expiry)),
        ("", Err(SasError::Missing("se"))),
    ] {
        let text = token(HOST, &STANDARD.encode(signature(KEY, HOST, se)), se);
        let parsed = SasToken::parse(&text);
        if let Ok(token) = &parsed {
            // Also where adding the skew would overflow.
            assert_eq!(token.verify(&[HOST], &HUB, &[KEY], 0), Ok(0), "{se}");
        }
        assert_eq!(
            parsed.map(|token| token.expires_at_seconds()),
            expected,
            "{se}"
        );
    }
}

#[test]
fn scope_covers_by_whole_segments() {
    let device = |device_id| Resource::Device { device_id };
    let module = |device_id, module_id| Resource::Module {
        device_id,
        module_id,
    };
    let methods = Resource::Service {
        path: &["twins", "dev1", "methods"],
    };
    let covers = |scope: &str, resource: &Resource<'_>| {
        let verdict = verify(&signed(scope, KEY), resource, KEY);
        // An encoded scope means the same: it must not be taken for a mere host name.
        assert_eq!(
            verify(&signed(&encode(scope), KEY), resource, KEY),
            verdict,
            "{scope}"
        );
        verdict
    };
    let no = Err(AuthFailure::Scope);
    for (scope, resource, verdict) in [
        ("hub1.example.net/devices/dev1", device("dev1"), Ok(())),
        ("hub1.example.net/devices/dev1", device("dev10"), no),
        ("hub1.example.net/devices/dev10", device("dev1"), no),
        ("hub1.example.net/devices/dev", device("dev1"), no),
        ("hub1.example.net/devices", device("dev1"), Ok(())),
        ("hub1.example.net/devices/", device("dev1"), Ok(())),
        ("hub1.example.net", device("dev1"), Ok(())),
        ("hub1.example.net/twins", device("dev1"), no),
        (
            "hub1.example.net/devices/dev1/modules/m1",
            module("dev1", "m1"),
            Ok(()),
        ),
        (
            "hub1.example.net/devices/dev1",
            module("dev1", "m1"),
            Ok(()),
        ),
        (
            "hub1.example.net/devices/dev1/modules/m2",
            module("dev1", "m1"),
            no,
        ),
        (
            "hub1.example.net/devices/dev1/modules/m1",
            device("dev1"),
            no,
        ),
        ("hub1.example.net/twins/dev1", methods, Ok(())),
        ("hub1.example.net/twins/dev2", methods, no),
        ("hub1.example.net", methods, Ok(())),
        ("hub1.example.net/twins", HUB, no),
    ] {
        assert_eq!(covers(scope, &resource), verdict, "{scope} on {resource:?}");
    }
}

#[test]
fn only_what_old_generators_append_is_ignored_beyond_the_resource() {
    let dev1 = Resource::Device { device_id: "dev1" };
    let covers = |scope: &str, resource| verify(&signed(scope, KEY), &resource, KEY);
    let appended = "hub1.example.net/devices/dev1/api-version=2016-11-14";
    assert_eq!(covers(appended, dev1), Ok(()));
    assert_eq!(
        covers("hub1.example.net/devices/dev1/messages", dev1),
        Err(AuthFailure::Scope)
    );
    // `a=b` is a legal device id: within the resource it must match like any other.
    assert_eq!(
        covers("hub1.example.net/devices/a=b", dev1),
        Err(AuthFailure::Scope)
    );
    assert_eq!(
        covers(
            "hub1.example.net/devices/a=b",
            Resource::Device { device_id: "a=b" }
        ),
        Ok(())
    );
}

#[test]
fn case_of_the_scope_does_not_matter_but_the_key_is_the_claimed_identitys() {
    let (upper, lower) = (
        Resource::Device { device_id: "Dev1" },
        Resource::Device { device_id: "dev1" },
    );
    let text = signed("HUB1.example.NET/Devices/dev1", KEY);
    assert_eq!(verify(&text, &upper, KEY), Ok(()), "Dev1's own key");
    assert_eq!(
        verify(&text, &lower, OTHER_KEY),
        Err(AuthFailure::Signature),
        "dev1 has another"
    );
}

#[test]
fn another_hubs_token_is_refused_and_any_of_our_names_will_do() {
    let text = signed("hub2.example.net/devices/dev1", KEY);
    let device = Resource::Device { device_id: "dev1" };
    assert_eq!(verify(&text, &device, KEY), Err(AuthFailure::Host));
    let token = SasToken::parse(&text).unwrap();
    assert_eq!(
        token.verify(&[HOST, "hub2.example.net"], &device, &[KEY], NOW),
        Ok(0)
    );
    let longer = signed("hub1.example.net.evil.test/devices/dev1", KEY);
    assert_eq!(verify(&longer, &device, KEY), Err(AuthFailure::Host));
}

#[test]
fn ids_with_percent_signs_open_in_every_makers_spelling() {
    let device_id = "50%25+a;b";
    let device = Resource::Device { device_id };
    let raw = format!("{HOST}/devices/{device_id}");
    let java = format!("{HOST}/devices/{}", encode(device_id));
    for sr in [raw.clone(), java.clone(), encode(&raw), encode(&java)] {
        assert_eq!(verify(&signed(&sr, KEY), &device, KEY), Ok(()), "{sr}");
    }
}

#[test]
fn other_texts_are_no_tokens() {
    let good = signed(HOST, KEY);
    let fields = good.strip_prefix("SharedAccessSignature ").unwrap();
    let cases = [
        (String::new(), SasError::NotSas),
        (fields.to_owned(), SasError::NotSas),
        (format!("sharedaccesssignature {fields}"), SasError::NotSas),
        (format!("SharedAccessSignature  {fields}"), SasError::NotSas),
        (format!("SharedAccessSignature\t{fields}"), SasError::NotSas),
        (format!("Bearer {fields}"), SasError::NotSas),
    ];
    for (text, error) in cases {
        assert_eq!(SasToken::parse(&text).map(|_| ()), Err(error), "{text}");
    }
}

#[test]
fn malformed_fields_are_told_apart_in_logs() {
    let good = signed(HOST, KEY);
    let cases = [
        ("SharedAccessSignature ".to_owned(), SasError::Field),
        (format!("{good}&"), SasError::Field),
        (format!("{good}&skn"), SasError::Field),
        (format!("{good}&skn=two words"), SasError::Field),
        (format!("{good}&sr=x"), SasError::Duplicate("sr")),
        (format!("{good}&SIG=x"), SasError::Duplicate("sig")),
        (format!("{good}&se=1"), SasError::Duplicate("se")),
        (format!("{good}&skn=&skn=a"), SasError::Duplicate("skn")),
        (
            format!("{good}&skn={}", "a".repeat(65)),
            SasError::PolicyName,
        ),
        (format!("{good}&skn=%ff"), SasError::PolicyName),
        (
            "SharedAccessSignature sig=a&se=1".to_owned(),
            SasError::Missing("sr"),
        ),
        (
            "SharedAccessSignature sr=a&se=1".to_owned(),
            SasError::Missing("sig"),
        ),
        (
            "SharedAccessSignature sr=a&sig=b".to_owned(),
            SasError::Missing("se"),
        ),
        (
            "SharedAccessSignature sr=%ff&sig=a&se=1".to_owned(),
            SasError::Scope,
        ),
        (
            "SharedAccessSignature sr=a&sig=****&se=1".to_owned(),
            SasError::Signature,
        ),
        (
            token(HOST, &STANDARD.encode([1; 31]), "1"),
            SasError::Signature,
        ),
        (
            token(HOST, &STANDARD.encode([1; 33]), "1"),
            SasError::Signature,
        ),
        (
            token(HOST, &STANDARD.encode([1; 64]), "1"),
            SasError::Signature,
        ),
        (
            format!("{good}&x={}", "a".repeat(MAX_TOKEN_BYTES)),
            SasError::TooLong,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(SasToken::parse(&text).map(|_| ()), Err(error), "{text}");
    }
}

#[test]
fn made_tokens_have_the_form_of_the_node_sdk() {
    let text = sign(&DEVICE.uri(HOST), KEY, EXPIRY, Some("device"));
    assert!(
        text.starts_with("SharedAccessSignature sr=hub1.example.net%2Fdevices%2Fdev%252B1%2540x&")
    );
    assert!(text.ends_with("&se=1893456000&skn=device"), "{text}");
    assert_eq!(verify(&text, &DEVICE, KEY), Ok(()));
}

prop_compose! {
    /// Ids of the whole alphabet of auth.md §1.
    fn any_id()(id in "[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}") -> String { id }
}

proptest! {
    #[test]
    fn made_token_opens_its_resource_and_no_other(
        device_id in any_id(), module_id in any_id(), other_id in any_id(),
    ) {
        let device = Resource::Device { device_id: &device_id };
        let module = Resource::Module { device_id: &device_id, module_id: &module_id };
        for resource in [device, module] {
            let text = sign(&resource.uri(HOST), KEY, EXPIRY, None);
            prop_assert_eq!(verify(&text, &resource, KEY), Ok(()));
        }
        let decoded = decode(&device_id).map(std::borrow::Cow::into_owned);
        let is_other = |id: &str| !id.eq_ignore_ascii_case(&other_id);
        if is_other(&device_id) && decoded.as_deref().is_none_or(is_other) {
            let text = sign(&device.uri(HOST), KEY, EXPIRY, None);
            let other = Resource::Device { device_id: &other_id };
            prop_assert_eq!(verify(&text, &other, KEY), Err(AuthFailure::Scope));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*", fields in "[a-z&=%0-9. +/-]{0,200}") {
        for text in [text.clone(), format!("SharedAccessSignature {text}"),
            format!("SharedAccessSignature {fields}"),
            format!("SharedAccessSignature sr={fields}&sig={fields}&se=1&skn={text}")]
        {
            if let Ok(token) = SasToken::parse(&text) {
                let verdict = token.verify(&[HOST], &DEVICE, &[KEY], NOW);
                prop_assert!(verdict.is_err());
            }
        }
    }

    #[test]
    fn changing_any_byte_of_a_token_never_leaves_it_valid_for_more(
        position in 0_usize..200, byte in b' '..=b'~',
    ) {
        let text = sign(&DEVICE.uri(HOST), KEY, EXPIRY, None);
        let mut bytes = text.clone().into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        if let Ok(token) = SasToken::parse(&changed)
            && token.verify(&[HOST], &DEVICE, &[KEY], NOW).is_ok()
        {
            // What still verifies differs in spelling only: signed text and expiry are the same.
            let original = SasToken::parse(&text).unwrap();
            prop_assert_eq!(token.raw_scope, original.raw_scope);
            prop_assert_eq!(token.expires_at_seconds(), original.expires_at_seconds());
        }
    }
}
