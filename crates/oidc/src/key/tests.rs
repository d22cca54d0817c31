use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::token::Token;

/// RFC 7515 appendix A.2.
const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// RFC 7515 appendix A.3.
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 8037 appendix A.
const ED25519: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

const VECTORS: [(&str, &str); 3] = [(RSA, RS256), (P256, ES256), (ED25519, EDDSA)];

fn set(keys: &[&str]) -> Option<KeySet> {
    KeySet::parse(&format!(r#"{{"keys":[{}]}}"#, keys.join(",")))
}

/// `key` with further members.
fn with(key: &str, more: &str) -> String {
    key.replacen('{', &format!("{{{more},"), 1)
}

#[test]
fn signatures_of_the_standards_hold_and_changed_ones_do_not() {
    for (key, jwt) in VECTORS {
        let token = Token::parse(jwt).unwrap();
        let key = Key::parse(key).unwrap();
        assert!(
            key.verifies(token.algorithm, token.signed, &token.signature),
            "{jwt}"
        );
        for at in [0, token.signature.len() / 2, token.signature.len() - 1] {
            let mut changed = token.signature.clone();
            changed[at] ^= 1;
            assert!(!key.verifies(token.algorithm, token.signed, &changed));
        }
        let shorter = token.signature[..token.signature.len() - 1].to_vec();
        assert!(!key.verifies(token.algorithm, token.signed, &shorter));
        assert!(!key.verifies(token.algorithm, &token.signed[1..], &token.signature));
    }
}

#[test]
fn a_key_is_found_for_algorithms_of_its_kind_alone() {
    let keys = set(&[RSA, P256, ED25519]).unwrap();
    for algorithm in Algorithm::ALL.iter().copied() {
        let found = keys.find(None, algorithm).map(|key| key.material.family());
        let family = jsonwebtoken::Algorithm::from(algorithm).family();
        let expected = (algorithm != Algorithm::Es384).then_some(family);
        assert_eq!(found, expected, "{algorithm:?}");
    }
}

#[test]
fn a_number_may_begin_with_zeros() {
    let n = Object::parse(RSA).unwrap().text("n").unwrap();
    let mut bytes = vec![0; 2];
    bytes.extend(URL_SAFE_NO_PAD.decode(&n).unwrap());
    let padded = RSA.replace(&n, &URL_SAFE_NO_PAD.encode(bytes));
    let padded = padded.replace("AQAB", "AAEAAQ");
    let token = Token::parse(RS256).unwrap();
    let key = Key::parse(&padded).unwrap();
    assert!(key.verifies(token.algorithm, token.signed, &token.signature));
}

#[test]
fn members_that_are_not_known_are_not_looked_at() {
    let more = r#""exp":1.5e3,"nbf":[{}],"x":{"x":[1]},"k":null"#;
    for key in [RSA, &RSA.replace("\"e\"", "\"d\":7,\"e\"")] {
        assert!(Key::parse(&with(key, more)).is_some());
    }
    assert!(Key::parse(&with(P256, r#""exp":1,"n":{}"#)).is_some());
}

#[test]
fn a_key_that_names_its_algorithm_is_for_no_other() {
    let keys = set(&[&with(RSA, r#""alg":"RS256""#)]).unwrap();
    assert!(keys.find(None, Algorithm::Rs256).is_some());
    assert!(keys.find(None, Algorithm::Ps256).is_none());
    assert!(set(&[&with(RSA, r#""alg":"ES256""#)]).is_none());
}

#[test]
fn without_a_key_id_one_key_must_fit_and_with_one_it_must_be_named() {
    let (a, b) = (with(P256, r#""kid":"a""#), with(P256, r#""kid":"b""#));
    let one = set(&[&a, RSA]).unwrap();
    assert!(one.find(None, Algorithm::Es256).is_some());
    assert!(one.find(Some("a"), Algorithm::Es256).is_some());
    assert!(one.find(Some("b"), Algorithm::Es256).is_none());
    assert!(one.find(Some("a"), Algorithm::Rs256).is_none());
    let two = set(&[&a, &b]).unwrap();
    assert!(two.find(None, Algorithm::Es256).is_none());
    assert!(two.find(Some("b"), Algorithm::Es256).is_some());
    // A key without an id is not one that a token can name.
    assert!(
        set(&[P256])
            .unwrap()
            .find(Some("a"), Algorithm::Es256)
            .is_none()
    );
}

#[test]
fn keys_for_other_uses_and_of_other_kinds_are_left_out() {
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let point = URL_SAFE_NO_PAD.encode([1; 32]);
    let [less, more] = [31, 33].map(|length| URL_SAFE_NO_PAD.encode(vec![1; length]));
    for useless in [
        with(RSA, r#""use":"enc""#),
        with(RSA, r#""key_ops":["sign"]"#),
        with(RSA, r#""kid":7"#),
        with(RSA, r#""alg":"HS256""#),
        with(RSA, r#""alg":"RSA-OAEP""#),
        with(RSA, r#""e":"AQAB""#),
        r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#.to_owned(),
        format!(r#"{{"kty":"RSA","n":"{short}","e":"AQAB"}}"#),
        format!(r#"{{"kty":"EC","crv":"P-521","x":"{point}","y":"{point}"}}"#),
        format!(r#"{{"kty":"EC","crv":"P-384","x":"{point}","y":"{point}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"X25519","x":"{point}"}}"#),
        r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_owned(),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{less}","y":"{more}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{less}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"P-256","x":"{point}"}}"#),
        "{}".to_owned(),
        "[]".to_owned(),
        "1".to_owned(),
    ] {
        assert!(set(&[&useless]).is_none(), "{useless}");
        assert_eq!(set(&[&useless, P256]).unwrap().len(), 1);
    }
    for useful in [
        with(RSA, r#""use":"sig""#),
        with(RSA, r#""key_ops":["sign","verify"]"#),
    ] {
        assert!(set(&[&useful]).is_some(), "{useful}");
    }
}

#[test]
fn a_document_has_at_most_64_keys() {
    assert_eq!(set(&[P256; MAX_KEYS]).unwrap().len(), MAX_KEYS);
    assert!(set(&[P256; MAX_KEYS + 1]).is_none());
    for document in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[]} x"#,
    ] {
        assert!(KeySet::parse(document).is_none(), "{document}");
    }
}

#[test]
fn a_point_that_is_not_on_its_curve_verifies_nothing() {
    let point = URL_SAFE_NO_PAD.encode([1; 32]);
    let key = format!(r#"{{"kty":"EC","crv":"P-256","x":"{point}","y":"{point}"}}"#);
    let key = Key::parse(&key).unwrap();
    let token = Token::parse(ES256).unwrap();
    assert!(!key.verifies(token.algorithm, token.signed, &token.signature));
    assert!(!key.verifies(token.algorithm, token.signed, &vec![0; 64]));
}
