//! Administration of policies.

use downlink_auth::sign;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::policy::MAX_POLICIES;
use downlink_ports::Clock;
use serde_json::json;

use super::*;
use crate::https::admin::{self, Call, Caller};

const PATH: &str = "/admin/policies/north";
const STALE: &str = "\"c3RhbGU=\"";
const KEY_1: &str = "AQEBAQEBAQEBAQEBAQEBAQ==";
const KEY_2: &str = "AgICAgICAgICAgICAgICAg==";

fn put(hub: &TestHub) -> Ask<'_> {
    ask(hub, Method::PUT, PATH)
}

fn spec() -> Value {
    json!({"permissions": ["ServiceConnect"]})
}

fn with_keys(primary: &str, secondary: &str) -> Value {
    json!({"permissions": ["ServiceConnect"], "primaryKey": primary, "secondaryKey": secondary})
}

#[tokio::test]
async fn a_created_policy_reads_as_it_was_answered() {
    let hub = TestHub::new().await;
    let scope =
        json!({"devices": [{"prefix": "truck-"}], "verbs": ["invoke"], "methods": ["reboot"]});
    let mut body = with_keys(KEY_1, KEY_2);
    body["scope"] = scope;
    let made = put(&hub).body(&body).send().await;
    assert_eq!(made.status, StatusCode::OK);
    let expected = format!(
        "{{\"name\":\"north\",\"primaryKey\":\"{KEY_1}\",\"secondaryKey\":\"{KEY_2}\",\
         \"permissions\":[\"ServiceConnect\"],\"scope\":{{\"devices\":[{{\"prefix\":\"truck-\"}}],\
         \"verbs\":[\"invoke\"],\"methods\":[\"reboot\"]}},\"etag\":\"MQ==\"}}"
    );
    assert_eq!(made.body, expected);
    assert_eq!(made.header("etag"), Some("\"MQ==\""));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let read = ask(&hub, Method::GET, "/Admin/Policies/north/")
        .send()
        .await;
    assert_eq!(
        (&read.body, read.header("etag")),
        (&made.body, Some("\"MQ==\""))
    );
    let all = ask(&hub, Method::GET, "/admin/policies").json().await;
    let all = all.as_array().unwrap();
    assert_eq!((all.len(), &all[5]), (6, &made.json()));
    assert_eq!(all[0]["name"], "iothubowner");
    let rights = [
        "RegistryRead",
        "RegistryWrite",
        "ServiceConnect",
        "DeviceConnect",
        "Administer",
    ];
    assert_eq!(
        (&all[0]["permissions"], &all[0]["scope"]),
        (&json!(rights), &json!(null))
    );
}

#[tokio::test]
async fn keys_that_are_left_out_are_made_for_a_new_policy_and_kept_for_an_old_one() {
    let hub = TestHub::new().await;
    let made = put(&hub).body(&spec()).json().await;
    for name in ["primaryKey", "secondaryKey"] {
        assert_eq!(made[name].as_str().map(str::len), Some(44));
    }
    assert_ne!(made["primaryKey"], made["secondaryKey"]);
    let wider = json!({"permissions": ["serviceConnect", "registryReadWrite"], "primaryKey": ""});
    let replaced = put(&hub).if_match("*").body(&wider).json().await;
    assert_eq!(
        replaced["permissions"],
        json!(["RegistryRead", "RegistryWrite", "ServiceConnect"])
    );
    for name in ["primaryKey", "secondaryKey"] {
        assert_eq!(replaced[name], made[name]);
    }
    let chosen = put(&hub)
        .if_match("*")
        .body(&with_keys(KEY_1, KEY_2))
        .json()
        .await;
    assert_eq!(
        (&chosen["primaryKey"], &chosen["etag"]),
        (&json!(KEY_1), &json!("Mw=="))
    );
}

#[tokio::test]
async fn a_put_creates_or_replaces_as_its_condition_says() {
    let hub = TestHub::new().await;
    for missing in ["*", STALE] {
        let code = put(&hub).if_match(missing).body(&spec()).code().await;
        assert_eq!(code, refused(404, "GenericNotFound"));
    }
    let made = put(&hub).if_match("\"\"").body(&spec()).json().await;
    let again = put(&hub).body(&spec()).code().await;
    assert_eq!(again, refused(409, "GenericConflict"));
    let stale = put(&hub).if_match(STALE).body(&spec()).code().await;
    assert_eq!(stale, refused(412, "PreconditionFailed"));
    let etag = format!("\"{}\"", made["etag"].as_str().unwrap());
    let whole = put(&hub).if_match(&etag).body(&made).json().await;
    assert_eq!(whole["etag"], "Mg==");
    let late = put(&hub).if_match(&etag).body(&made).code().await;
    assert_eq!(late, refused(412, "PreconditionFailed"));
}

#[tokio::test]
async fn one_key_or_both_are_made_anew_or_taken_as_given() {
    let hub = TestHub::new().await;
    let mut before = put(&hub).body(&with_keys(KEY_1, KEY_2)).json().await;
    for (body, are_others) in [
        (json!({"key": "primary"}), [true, false]),
        (json!({"key": "secondary"}), [false, true]),
        (json!({"key": "both"}), [true, true]),
        (
            json!({"key": "secondary", "secondaryKey": KEY_2}),
            [false, true],
        ),
        (json!({"key": "both", "primaryKey": KEY_1}), [true, true]),
    ] {
        let path = format!("{PATH}/regenerate");
        let after = ask(&hub, Method::POST, &path).body(&body).json().await;
        for (name, is_other) in ["primaryKey", "secondaryKey"].iter().zip(are_others) {
            assert_eq!(after[name] != before[name], is_other, "{body} {name}");
            if let Some(given) = body.get(name) {
                assert_eq!(&after[name], given);
            }
        }
        assert_eq!(after["permissions"], before["permissions"]);
        before = after;
    }
    assert_eq!(before["etag"], "Ng==");
}

#[tokio::test]
async fn keys_are_made_anew_under_a_condition_that_holds() {
    let hub = TestHub::new().await;
    let path = format!("{PATH}/regenerate");
    let regenerate = || ask(&hub, Method::POST, &path).body(&json!({"key": "primary"}));
    assert_eq!(regenerate().code().await, refused(404, "GenericNotFound"));
    put(&hub).body(&spec()).json().await;
    let stale = regenerate().if_match(STALE).code().await;
    assert_eq!(stale, refused(412, "PreconditionFailed"));
    regenerate().if_match("\"MQ==\"").json().await;
    regenerate().if_match("*").json().await;
    for (body, code) in [
        (json!({}), "ArgumentNull"),
        (json!({"key": "third"}), "ArgumentInvalid"),
        (
            json!({"key": "primary", "secondaryKey": KEY_2}),
            "ArgumentInvalid",
        ),
        (
            json!({"key": "primary", "primaryKey": "short"}),
            "ArgumentInvalid",
        ),
        (json!({"key": "primary", "keys": []}), "ArgumentInvalid"),
        (json!({"key": 1}), "ArgumentInvalid"),
    ] {
        let asked = ask(&hub, Method::POST, &path).body(&body);
        assert_eq!(asked.code().await, refused(400, code), "{body}");
    }
}

#[tokio::test]
async fn a_policy_is_deleted_unless_the_condition_names_another_etag() {
    let hub = TestHub::new().await;
    put(&hub).body(&spec()).json().await;
    let delete = || ask(&hub, Method::DELETE, PATH);
    let stale = delete().if_match(STALE).code().await;
    assert_eq!(stale, refused(412, "PreconditionFailed"));
    assert_eq!(delete().send().await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete().code().await, refused(404, "GenericNotFound"));
    let read = ask(&hub, Method::GET, PATH).code().await;
    assert_eq!(read, refused(404, "GenericNotFound"));
}

#[tokio::test]
async fn the_last_policy_that_administers_stays() {
    let hub = TestHub::new().await;
    let owner = "/admin/policies/iothubowner";
    let demote = || ask(&hub, Method::PUT, owner).if_match("*").body(&spec());
    let delete = || ask(&hub, Method::DELETE, owner).if_match("*");
    assert_eq!(demote().code().await, refused(400, "InvalidOperation"));
    assert_eq!(delete().code().await, refused(400, "InvalidOperation"));
    put(&hub)
        .body(&json!({"permissions": ["Administer"]}))
        .json()
        .await;
    assert_eq!(
        demote().json().await["permissions"],
        json!(["ServiceConnect"])
    );
    assert_eq!(delete().send().await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn fields_outside_their_rules_are_refused() {
    let hub = TestHub::new().await;
    for (body, code) in [
        (json!({}), "ArgumentNull"),
        (json!({"permissions": []}), "ArgumentInvalid"),
        (json!({"permissions": "ServiceConnect"}), "ArgumentInvalid"),
        (json!({"permissions": ["Everything"]}), "ArgumentInvalid"),
        (json!({"permissions": [4]}), "ArgumentInvalid"),
        (
            json!({"name": "south", "permissions": ["ServiceConnect"]}),
            "ArgumentInvalid",
        ),
        (
            json!({"permissions": ["ServiceConnect"], "scopes": {}}),
            "ArgumentInvalid",
        ),
        (
            json!({"permissions": ["ServiceConnect"], "scope": {}}),
            "ArgumentInvalid",
        ),
        (
            json!({"permissions": ["ServiceConnect"], "scope": {"verb": ["send"]}}),
            "ArgumentInvalid",
        ),
        (
            json!({"permissions": ["ServiceConnect", "Administer"], "scope": {"verbs": ["send"]}}),
            "ArgumentInvalid",
        ),
        (with_keys(KEY_1, ""), "ArgumentInvalid"),
        (with_keys("", KEY_2), "ArgumentInvalid"),
        (with_keys(KEY_1, "not base64"), "ArgumentInvalid"),
        (with_keys(KEY_1, "AQEB"), "ArgumentInvalid"),
        (with_keys(KEY_1, &"AQEB".repeat(22)), "ArgumentInvalid"),
        (json!([]), "ArgumentInvalid"),
    ] {
        assert_eq!(
            put(&hub).body(&body).code().await,
            refused(400, code),
            "{body}"
        );
    }
    let broken = put(&hub).text("{\"permissions\":").code().await;
    assert_eq!(broken, refused(400, "IotHubFormatError"));
    for name in ["a%20b", "a;b", "%C3%A9", &"a".repeat(65)] {
        let path = format!("/admin/policies/{name}");
        let code = ask(&hub, Method::PUT, &path).body(&spec()).code().await;
        assert_eq!(code, refused(400, "ArgumentInvalid"), "{name}");
    }
}

#[tokio::test]
async fn a_body_has_a_bound_of_its_own() {
    let hub = TestHub::new().await;
    let padding = " ".repeat(admin::MAX_BODY_BYTES);
    let code = put(&hub).text(&format!("{}{padding}", spec())).code().await;
    assert_eq!(code, refused(413, "MessageTooLarge"));
    let text = spec().to_string();
    let padding = " ".repeat(admin::MAX_BODY_BYTES - text.len());
    assert_eq!(
        put(&hub).text(&(text + &padding)).json().await["name"],
        "north"
    );
}

#[tokio::test]
async fn a_hub_has_as_many_policies_as_it_may() {
    let hub = TestHub::new().await;
    for number in 5..MAX_POLICIES {
        let path = format!("/admin/policies/p{number}");
        ask(&hub, Method::PUT, &path).body(&spec()).json().await;
    }
    let code = put(&hub).body(&spec()).code().await;
    assert_eq!(code, refused(403, "IotHubQuotaExceeded"));
}

#[tokio::test]
async fn only_who_administers_the_hub_comes_near() {
    let hub = TestHub::new().await;
    put(&hub).body(&spec()).json().await;
    let calls = [
        (Method::GET, "/admin/policies"),
        (Method::GET, PATH),
        (Method::PUT, PATH),
        (Method::DELETE, PATH),
        (Method::POST, "/admin/policies/north/regenerate"),
        (Method::GET, "/admin/certificates"),
        (Method::GET, "/admin/certificates/plant"),
        (Method::PUT, "/admin/certificates/plant"),
        (Method::DELETE, "/admin/certificates/plant"),
        (Method::POST, "/admin/certificates/plant/verificationCode"),
        (Method::POST, "/admin/certificates/plant/verify"),
    ];
    let in_an_hour = hub.clock.now().as_seconds() + 3600;
    let narrow = |path: &str| {
        sign(
            &format!("hub.test{path}"),
            &[1; 32],
            in_an_hour,
            Some("iothubowner"),
        )
    };
    for (method, path) in calls {
        let uri = format!("{path}?{VERSION}");
        for policy in ["service", "device", "registryRead", "registryReadWrite"] {
            let asked = ask_with(&hub, method.clone(), &uri, &hub.policy_token(policy));
            let expected = refused(401, "IotHubUnauthorizedAccess");
            assert_eq!(asked.code().await, expected, "{policy} {method} {path}");
        }
        for scope in ["/devices", "/admin/policies/northern", "/administration"] {
            let asked = ask_with(&hub, method.clone(), &uri, &narrow(scope));
            let expected = refused(401, "IotHubUnauthorizedAccess");
            assert_eq!(asked.code().await, expected, "{scope} {method} {path}");
        }
        let asked = ask_with(&hub, method.clone(), &uri, "");
        assert_eq!(asked.code().await, refused(401, "IotHubUnauthorized"));
        let asked = ask_with(&hub, method.clone(), path, &hub.policy_token("iothubowner"));
        assert_eq!(asked.code().await, refused(400, "InvalidProtocolVersion"));
    }
    let uri = format!("{PATH}?{VERSION}");
    for scope in ["", "/admin", "/admin/policies", PATH] {
        ask_with(&hub, Method::GET, &uri, &narrow(scope))
            .json()
            .await;
    }
}

#[tokio::test]
async fn who_may_write_and_not_read_is_shown_no_key() {
    let hub = TestHub::new().await;
    let caller = || Caller {
        actor: Actor::operator(),
        may_read: false,
    };
    let answer = async |call, body: &str| {
        let answer = admin::answer(
            &hub.shared,
            call,
            caller(),
            IfMatch::Absent,
            body.as_bytes(),
        );
        let body = answer.await.unwrap().into_response().into_body();
        let body = body.collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let name = || "north".to_owned();
    let made = answer(Call::PutPolicy(name()), &spec().to_string()).await;
    let rotated = answer(Call::RegenerateKeys(name()), r#"{"key":"both"}"#).await;
    for (document, etag) in [(made, "MQ=="), (rotated, "Mg==")] {
        let expected = json!({
            "name": "north", "permissions": ["ServiceConnect"], "scope": null, "etag": etag
        });
        assert_eq!(document, expected);
    }
}

#[tokio::test]
async fn paths_below_admin_take_their_methods_and_no_others() {
    let hub = TestHub::new().await;
    for path in [
        "/admin",
        "/admin/keys",
        "/admin/policies/a/b",
        "/admin/policies/a/regenerate/b",
    ] {
        let code = ask(&hub, Method::GET, path).code().await;
        assert_eq!(code, refused(404, "GenericNotFound"), "{path}");
    }
    for (method, path, allow) in [
        (Method::POST, "/admin/policies", "GET"),
        (Method::PATCH, PATH, "GET, PUT, DELETE"),
        (Method::GET, "/admin/policies/north/regenerate", "POST"),
        (Method::GET, "/admin/certificates/plant/verify", "POST"),
    ] {
        let reply = ask(&hub, method, path).send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("allow")),
            (405, Some(allow))
        );
    }
}

#[tokio::test]
async fn a_hub_that_cannot_be_asked_says_so() {
    let hub = TestHub::new().await;
    hub.backend.set_down(true);
    for (method, path) in [(Method::GET, "/admin/policies"), (Method::PUT, PATH)] {
        let code = ask(&hub, method, path).body(&spec()).code().await;
        assert_eq!(code, refused(503, "ServiceUnavailable"));
    }
}
