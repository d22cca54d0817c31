//! What a server of a cluster says of the cluster.

use std::collections::BTreeMap;

use redis::{Pipeline, Value};

use crate::address::Address;
use crate::error::LinkError;
use crate::link::{info_field, into_text};
use crate::map::Holding;
use crate::slot::SLOTS;

/// Who holds what, and whether the one asked is in touch with the others.
pub(crate) fn question() -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline
        .cmd("CLUSTER")
        .arg("INFO")
        .cmd("CLUSTER")
        .arg("SLOTS");
    pipeline
}

/// Reads the answer of `at`.
///
/// # Errors
/// The server is cut off from the others, or slots are held by nobody: what it says may be old.
pub(crate) fn read(at: &Address, answer: Vec<Value>) -> Result<Vec<Holding>, LinkError> {
    let odd = |what| LinkError::Answer {
        at: at.clone(),
        what,
    };
    let accept = |value: Option<Value>, what| match value {
        Some(Value::ServerError(error)) => Err(LinkError::Refused {
            at: at.clone(),
            error: error.into(),
        }),
        Some(value) => Ok(value),
        None => Err(odd(what)),
    };
    let mut answer = answer.into_iter();
    let state = into_text(accept(answer.next(), "CLUSTER INFO")?);
    let state = state.ok_or_else(|| odd("CLUSTER INFO"))?;
    if info_field(&state, "cluster_state") != Some("ok") {
        return Err(LinkError::NotWhole { at: at.clone() });
    }
    let Value::Array(rows) = accept(answer.next(), "CLUSTER SLOTS")? else {
        return Err(odd("CLUSTER SLOTS"));
    };
    let mut holdings: BTreeMap<Address, Vec<(u16, u16)>> = BTreeMap::new();
    for row in rows {
        let (range, master) = read_row(at, row).ok_or_else(|| odd("CLUSTER SLOTS"))?;
        holdings.entry(master).or_default().push(range);
    }
    let holding = |(at, ranges)| Holding { at, ranges };
    Ok(holdings.into_iter().map(holding).collect())
}

/// One row: first slot, last slot, master, replicas.
fn read_row(asked: &Address, row: Value) -> Option<((u16, u16), Address)> {
    let Value::Array(parts) = row else {
        return None;
    };
    let mut parts = parts.into_iter();
    let mut slot = || match parts.next() {
        Some(Value::Int(slot)) => u16::try_from(slot).ok().filter(|slot| *slot < SLOTS),
        _ => None,
    };
    let range = (slot()?, slot()?);
    let Some(Value::Array(master)) = parts.next() else {
        return None;
    };
    let mut master = master.into_iter();
    let host = master.next().and_then(into_text).unwrap_or_default();
    let Some(Value::Int(port)) = master.next() else {
        return None;
    };
    let port = u16::try_from(port).ok()?;
    // A server that does not know the name of a host means: where you asked me.
    let host = if host.is_empty() || host == "?" {
        &asked.host
    } else {
        host.as_str()
    };
    Some((range, Address::new(host, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn row(first: i64, last: i64, host: Value, port: i64) -> Value {
        let master = Value::Array(vec![host, Value::Int(port), text("id")]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    fn asked() -> Address {
        Address::new("asked", 7000)
    }

    #[test]
    fn the_slots_of_a_master_are_gathered() {
        let rows = vec![
            row(0, 10, text("a"), 1),
            row(11, 20, text("b"), 2),
            row(21, 16_383, text("a"), 1),
            row(30, 31, Value::Nil, 3),
        ];
        let answer = vec![text("cluster_state:ok\r\nx:1\r\n"), Value::Array(rows)];
        let holdings = read(&asked(), answer).unwrap();
        let of = |host, port, ranges: &[(u16, u16)]| Holding {
            at: Address::new(host, port),
            ranges: ranges.to_vec(),
        };
        assert_eq!(
            holdings,
            [
                of("a", 1, &[(0, 10), (21, 16_383)]),
                of("asked", 3, &[(30, 31)]),
                of("b", 2, &[(11, 20)])
            ]
        );
    }

    #[test]
    fn a_server_that_is_cut_off_is_not_believed() {
        let answer = vec![text("cluster_state:fail\r\n"), Value::Array(Vec::new())];
        let refused = read(&asked(), answer).unwrap_err();
        assert!(matches!(refused, LinkError::NotWhole { .. }));
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        for odd in [
            Value::Nil,
            Value::Array(vec![Value::Int(0)]),
            row(0, 16_384, text("a"), 1),
            row(-1, 5, text("a"), 1),
            row(0, 5, text("a"), 70_000),
        ] {
            let answer = vec![text("cluster_state:ok"), Value::Array(vec![odd])];
            assert!(read(&asked(), answer).is_err());
        }
    }
}
