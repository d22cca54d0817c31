use std::collections::HashSet;

use axum::http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use utoipa::openapi::path::PathItem;

use super::common::operations;
use super::*;
use crate::https::route::{self, Endpoint};

/// What stands in the place of a parameter when a path is looked up.
fn sample(path: &str) -> String {
    path.replace("{lock}", "1ae003e4-61fb-4bc1-9210-1e1635350796")
        .split('/')
        .map(|part| if part.starts_with('{') { "x1" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

fn is_offered(method: &Method, path: &str) -> bool {
    let found = route::find(method, path).ok();
    found.is_some_and(|route| !matches!(route.endpoint, Endpoint::NotOffered(_)))
}

/// Whether `path` is one of `template`.
fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(part, said)| part.starts_with('{') || part == said)
}

#[test]
fn described_paths_take_exactly_the_methods_that_are_described() {
    let described = Described::openapi();
    let paths = &described.paths.paths;
    assert!(paths.len() > 20);
    let of = |item: &PathItem, method: &Method| match *method {
        Method::GET => item.get.is_some(),
        Method::PUT => item.put.is_some(),
        Method::POST => item.post.is_some(),
        Method::PATCH => item.patch.is_some(),
        _ => item.delete.is_some(),
    };
    for (path, own) in paths {
        let asked = sample(path);
        for method in [
            Method::GET,
            Method::PUT,
            Method::POST,
            Method::PATCH,
            Method::DELETE,
        ] {
            let is_taken = is_offered(&method, &asked);
            assert!(
                is_taken || !of(own, &method),
                "{method} {path} is not there"
            );
            // What has a name of its own may also be read as an id.
            let mut fitting = paths.iter().filter(|(other, _)| fits(other, &asked));
            let is_described = fitting.any(|(_, item)| of(item, &method));
            assert!(
                is_described || !is_taken,
                "{method} {path} is not described"
            );
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_texts() {
    let mut described = Described::openapi();
    let mut names = HashSet::new();
    let tags: HashSet<String> = described
        .tags
        .iter()
        .flatten()
        .map(|tag| tag.name.clone())
        .collect();
    for (path, item) in &mut described.paths.paths {
        for operation in operations(item) {
            let name = operation.operation_id.clone().unwrap_or_default();
            assert!(names.insert(name.clone()), "{name} {path}");
            assert!(operation.summary.is_some(), "{name}");
            let own = operation.tags.iter().flatten();
            assert!(
                own.clone().count() == 1 && own.clone().all(|tag| tags.contains(tag)),
                "{name}"
            );
            let responses = &operation.responses.responses;
            assert!(
                responses.contains_key("4XX") && responses.contains_key("5XX"),
                "{name}"
            );
        }
    }
}

#[test]
fn every_reference_leads_to_a_schema() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                for (name, inner) in members {
                    match inner {
                        Value::String(to) if name == "$ref" => found.push(to),
                        _ => references(inner, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_slice(&DESCRIPTION).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_but_its_own_parts() {
    let page = Document::Page.into_response();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()[CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"));
    let page = page.into_body().collect().await.unwrap().to_bytes();
    let page = std::str::from_utf8(&page).unwrap().to_owned();
    let named = page.split(['"', '\'']).filter(|text| text.starts_with('/'));
    let named: HashSet<&str> = named.collect();
    assert_eq!(
        named,
        HashSet::from(["/docs/page.css", "/docs/page.js", "/openapi.json"])
    );
    for path in named {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        assert!(Document::at(&parts).is_some(), "{path}");
    }
    assert!(!page.contains("://"));
}
