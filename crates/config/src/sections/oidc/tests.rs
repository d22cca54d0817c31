use crate::layers::{Layers, LoadError, to_toml};
use crate::sections::{Config, OidcIssuer, TokenAlgorithm};

/// Loads a file of this text; the paths and messages of what is wrong with it.
fn load(text: &str) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("downlink.toml");
    std::fs::write(&path, text).unwrap();
    match Layers::new().file(Some(path)).load() {
        Ok(config) => Ok(config),
        Err(LoadError::Invalid(violations)) => Err(violations
            .list
            .into_iter()
            .map(|one| format!("{}: {}", one.path, one.message))
            .collect()),
        Err(error) => panic!("{error}"),
    }
}

fn issuer(settings: &str) -> String {
    format!("[[oidc.issuers]]\nissuer = \"https://issuer.test\"\n{settings}\n")
}

#[test]
fn an_issuer_needs_no_more_than_its_name_and_prints_as_it_loads() {
    let config = load(&issuer("")).unwrap();
    let expected = OidcIssuer {
        issuer: "https://issuer.test".to_owned(),
        ..OidcIssuer::default()
    };
    assert_eq!(config.oidc.issuers, [expected]);
    assert_eq!(config.oidc.issuers[0].mapping.len(), 4);
    assert_eq!(load(&to_toml(&config)).unwrap(), config);
}

#[test]
fn a_mapping_replaces_the_four_roles_and_each_issuer_has_its_own() {
    let text =
        issuer("algorithms = [\"PS256\", \"EdDSA\"]\nmapping = { send = [\"*/send/action\"] }")
            + "[[oidc.issuers]]\nissuer = \"http://127.0.0.1:9000/realms/a\"\nallow_http = true\n\
           jwks_uri = \"/etc/downlink/keys.json\"\n";
    let issuers = load(&text).unwrap().oidc.issuers;
    assert_eq!(issuers[0].mapping.keys().collect::<Vec<_>>(), ["send"]);
    let algorithms = issuers[0].algorithms.as_slice();
    assert_eq!(algorithms, [TokenAlgorithm::Ps256, TokenAlgorithm::EdDsa]);
    assert_eq!(issuers[1].mapping.len(), 4);
    assert!(issuers[1].allow_http);
}

/// Settings of an issuer, where they are wrong, and what is said of it.
const WRONG: &[(&str, &str, &str)] = &[
    ("audiences = []", "issuers.0.audiences", "at least one"),
    (
        "audiences = [\"\"]",
        "issuers.0.audiences",
        "none of them empty",
    ),
    ("algorithms = []", "issuers.0.algorithms", "at least one"),
    ("algorithms = [\"HS256\"]", "algorithms", "none of RS256"),
    ("algorithms = [\"none\"]", "algorithms", "none of RS256"),
    (
        "actions_claims = []",
        "issuers.0.actions_claims",
        "at least one",
    ),
    ("subject_claim = \"\"", "issuers.0.subject_claim", "empty"),
    ("clock_skew = \"11m\"", "issuers.0.clock_skew", "not within"),
    (
        "fetch_timeout = \"2m\"",
        "issuers.0.fetch_timeout",
        "not within",
    ),
    (
        "refresh_interval = \"0s\"",
        "issuers.0.refresh_interval",
        "not within",
    ),
    (
        "unknown_key_interval = \"0s\"",
        "issuers.0.unknown_key_interval",
        "not within",
    ),
    (
        "stale_limit = \"30d\"",
        "issuers.0.stale_limit",
        "not within",
    ),
    (
        "jwks_uri = \"keys.json\"",
        "issuers.0.jwks_uri",
        "absolute path",
    ),
    (
        "jwks_uri = \"http://a.test/keys\"",
        "issuers.0.jwks_uri",
        "an https",
    ),
    (
        "jwks_uri = \"https://u:p@a.test/keys\"",
        "issuers.0.jwks_uri",
        "an https",
    ),
    ("secret = \"x\"", "secret", "no such setting"),
    ("[[oidc.issuers]]", "issuers.1.issuer", "an https"),
    (
        "[[oidc.issuers]]\nissuer = \"https://issuer.test\"",
        "issuers.1.issuer",
        "twice",
    ),
    (
        "[[oidc.issuers]]\nissuer = \"http://a.test\"",
        "issuers.1.issuer",
        "an https",
    ),
    (
        "[[oidc.issuers]]\nissuer = \"https://a.test/?x\"",
        "issuers.1.issuer",
        "query",
    ),
    (
        "[[oidc.issuers]]\nissuer = \"https:///a\"",
        "issuers.1.issuer",
        "an https",
    ),
];

#[test]
fn what_an_issuer_may_not_be_is_told_with_its_place() {
    for (settings, place, message) in WRONG {
        let wrong = load(&issuer(settings)).unwrap_err();
        assert!(
            wrong
                .iter()
                .any(|one| one.contains(place) && one.contains(message)),
            "{settings}: {wrong:?}"
        );
    }
}

#[test]
fn there_are_at_most_16_issuers() {
    let named = |count: u32| {
        let tables: Vec<String> = (0..count)
            .map(|at| format!("[[oidc.issuers]]\nissuer = \"https://{at}.test\"\n"))
            .collect();
        load(&tables.concat())
    };
    assert_eq!(named(16).unwrap().oidc.issuers.len(), 16);
    assert_eq!(
        named(17).unwrap_err(),
        ["oidc.issuers: more than 16 issuers"]
    );
}
