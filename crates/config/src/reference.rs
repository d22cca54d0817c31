//! The reference manual, made from the doc comments and defaults of the sections.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::layers::Configuration as _;
use crate::sections::Config;

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the doc comments in crates/config/src/sections by that crate's tests; changes here are lost. -->

Settings come from four layers, each over the one before: the defaults below, a TOML file (`--config FILE` or
`DOWNLINK_CONFIG`), environment variables, flags. `--print-config` prints the result.

The section is a table of the file. In the environment it stands before the field with `__` between:
`queue.max_depth` is `DOWNLINK_QUEUE__MAX_DEPTH`, `queue.feedback.ttl` is `DOWNLINK_QUEUE__FEEDBACK__TTL`; lists are
written with commas. Unknown settings and values out of bounds are refused, all of them named at once with the layer
they came from.

Durations are written `250ms`, `30s`, `10m`, `1h30m`, `7d`; sizes `512B`, `64KiB`, `4MiB`, `1GiB`.
";

fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}

fn reference() -> String {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let mut text = INTRODUCTION.to_owned();
    let schema = schema();
    for (name, section) in schema["properties"].as_object().unwrap() {
        write_section(&mut text, &schema, name, section, &defaults[name]);
    }
    text
}

/// Returns the type a section's field refers to, with the section's own description; `None` for a plain setting.
fn section_type<'a>(schema: &'a Value, field: &'a Value) -> Option<&'a Value> {
    let definition = schema.pointer(field["$ref"].as_str()?.strip_prefix('#')?)?;
    definition["properties"].is_object().then_some(definition)
}

fn write_section(text: &mut String, schema: &Value, path: &str, field: &Value, defaults: &Value) {
    let section = section_type(schema, field).unwrap_or_else(|| panic!("{path} is no section"));
    let depth = path.trim_end_matches(".NAME").matches('.').count();
    let heading = "#".repeat(2 + depth);
    let description = one_line(&section["description"]);
    writeln!(text, "\n{heading} {path}\n\n{description}\n").unwrap();
    writeln!(text, "| setting | default | meaning |\n|---|---|---|").unwrap();
    let mut inner = Vec::new();
    for (name, field) in section["properties"].as_object().unwrap() {
        if section_type(schema, field).is_some() {
            inner.push((name.clone(), field, defaults[name].clone()));
            continue;
        }
        let tables = [
            (format!("{name}[]"), &field["items"]),
            (format!("{name}.NAME"), &field["additionalProperties"]),
        ];
        for (name, item) in tables {
            let Some(table) = section_type(schema, item) else {
                continue;
            };
            // The defaults of a table that is written in the file.
            let fields = table["properties"].as_object().unwrap().iter();
            let defaults = fields.map(|(name, field)| (name.clone(), field["default"].clone()));
            inner.push((name, item, defaults.collect()));
        }
        let (default, meaning) = (
            default_text(&defaults[name]),
            one_line(&field["description"]),
        );
        assert!(!meaning.is_empty(), "{path}.{name} has no description");
        writeln!(text, "| `{name}` | {default} | {meaning} |").unwrap();
    }
    for (name, field, defaults) in inner {
        write_section(text, schema, &format!("{path}.{name}"), field, &defaults);
    }
}

fn one_line(description: &Value) -> String {
    let lines: Vec<&str> = description
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    lines.join(" ").replace('|', "\\|")
}

fn default_text(default: &Value) -> String {
    match default {
        Value::Null => "not set".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Object(items) if items.is_empty() => "none".to_owned(),
        Value::String(text) => format!("`\"{text}\"`"),
        other => format!("`{other}`"),
    }
}

/// Fails, once, when a committed file is stale, and brings it up to date.
fn assert_current(name: &str, current: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if committed != current {
        fs::write(&path, current).unwrap();
        panic!("docs/{name} was stale and has been made anew: look at the change and commit it");
    }
}

/// Notes the paths of settings that are secret, and of those whose names sound so.
fn find_secrets(
    schema: &Value,
    path: &str,
    section: &Value,
    (secret, suspect): (&mut Vec<String>, &mut Vec<String>),
) {
    for (name, field) in section["properties"].as_object().unwrap() {
        let path = format!("{path}.{name}");
        let path = path.trim_start_matches('.');
        let within = [field, &field["items"], &field["additionalProperties"]];
        for inner in within
            .into_iter()
            .filter_map(|field| section_type(schema, field))
        {
            find_secrets(schema, path, inner, (secret, suspect));
        }
        let sounds_secret = ["password", "secret", "credential", "private"]
            .iter()
            .any(|word| name.contains(word));
        if field["$ref"] == "#/$defs/Secret" {
            secret.push(path.to_owned());
        } else if sounds_secret && field["type"] == "string" {
            suspect.push(path.to_owned());
        }
    }
}

#[test]
fn every_secret_may_come_from_a_file() {
    let schema = schema();
    let (mut secret, mut suspect) = (Vec::new(), Vec::new());
    find_secrets(&schema, "", &schema, (&mut secret, &mut suspect));
    secret.sort();
    let mut listed = Config::SECRETS.to_vec();
    listed.sort_unstable();
    assert_eq!(
        secret, listed,
        "`Config::SECRETS` gives each its `_file` twin"
    );
    assert_eq!(
        suspect,
        Vec::<String>::new(),
        "these should be of type `Secret`"
    );
}

#[test]
fn manual_says_what_the_code_says() {
    assert_current("configuration.md", &reference());
}

#[test]
fn schema_says_what_the_code_says() {
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert_current("configuration.schema.json", &text);
}
