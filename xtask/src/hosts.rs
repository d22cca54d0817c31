//! Host names for the SDK suites.
//!
//! The SDKs fix their ports, so each suite's hub listens on a loopback address of its own, and a
//! connection string names a host, so each address needs a name. `tests/sdk/hosts.txt` pairs them;
//! this room makes the machine resolve them for as long as the suites run.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use crate::cache;
use crate::shell::{self, Failure, Outcome};
use crate::tools;

const HOSTS_FILE: &str = "/etc/hosts";
const BEGIN: &str = "# downlink tests: begin (removed when they end)";
const END: &str = "# downlink tests: end";

/// One line of `tests/sdk/hosts.txt`.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    address: IpAddr,
    name: String,
}

/// Names that resolve until this value is dropped.
pub(crate) struct Names {
    is_hosts_file_changed: bool,
}

impl Names {
    /// Makes every name of the suites resolve to its address.
    ///
    /// # Errors
    /// A name does not resolve and this user cannot change the hosts file; the message holds the
    /// lines to add.
    pub(crate) fn provide() -> Outcome<Self> {
        let entries = read_entries(&cache::workspace().join("tests/sdk/hosts.txt"))?;
        if entries.iter().all(resolves) {
            return Ok(Self {
                is_hosts_file_changed: false,
            });
        }
        let mut lines = String::new();
        for entry in &entries {
            let _ = writeln!(lines, "{} {}", entry.address, entry.name);
        }
        let written = tools::is_root() && write_block(&lines).is_ok();
        if written && entries.iter().all(resolves) {
            return Ok(Self {
                is_hosts_file_changed: true,
            });
        }
        Err(Failure(format!(
            "these names must resolve; as root, add to {HOSTS_FILE}:\n{lines}"
        )))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if self.is_hosts_file_changed
            && let Err(error) = write_block("")
        {
            shell::complain(format_args!("the test names stay in {HOSTS_FILE}: {error}"));
        }
    }
}

fn resolves(entry: &Entry) -> bool {
    (entry.name.as_str(), 0)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.any(|address| address.ip() == entry.address))
}

fn read_entries(path: &Path) -> Outcome<Vec<Entry>> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))?;
    parse_entries(&text).ok_or_else(|| Failure(format!("{} has a malformed line", path.display())))
}

fn parse_entries(text: &str) -> Option<Vec<Entry>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (address, name) = line.split_once(' ')?;
            Some(Entry {
                address: address.parse().ok()?,
                name: name.trim().to_owned(),
            })
        })
        .collect()
}

/// Writes the file in place: inside a container it is a mount point that cannot be renamed over.
fn write_block(lines: &str) -> std::io::Result<()> {
    let before = fs::read_to_string(HOSTS_FILE)?;
    fs::write(HOSTS_FILE, with_block(&before, lines))
}

/// Replaces this program's block in a hosts file; no lines, no block.
fn with_block(before: &str, lines: &str) -> String {
    let mut after = String::new();
    let mut is_inside = false;
    for line in before.lines() {
        match line {
            BEGIN => is_inside = true,
            END => is_inside = false,
            _ if is_inside => {}
            _ => {
                after.push_str(line);
                after.push('\n');
            }
        }
    }
    if !lines.is_empty() {
        let _ = write!(after, "{BEGIN}\n{lines}{END}\n");
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_added_replaced_and_removed_without_touching_other_lines() {
        let original = "127.0.0.1 localhost\n";
        let first = with_block(original, "127.0.0.11 a.test\n");
        assert_eq!(
            first,
            format!("{original}{BEGIN}\n127.0.0.11 a.test\n{END}\n")
        );
        let second = with_block(&first, "127.0.0.12 b.test\n");
        assert_eq!(
            second,
            format!("{original}{BEGIN}\n127.0.0.12 b.test\n{END}\n")
        );
        assert_eq!(with_block(&second, ""), original);
    }

    #[test]
    fn the_suites_names_are_well_formed_and_no_address_is_used_twice() {
        let entries = read_entries(&cache::workspace().join("tests/sdk/hosts.txt"))
            .expect("the file is part of the repository");
        assert!(!entries.is_empty());
        for (position, entry) in entries.iter().enumerate() {
            assert!(entry.address.is_loopback(), "{entry:?}");
            assert!(entry.name.contains('.'), "{entry:?}");
            assert!(
                entries[..position]
                    .iter()
                    .all(|other| other.address != entry.address)
            );
        }
    }

    #[test]
    fn a_malformed_line_is_refused() {
        assert_eq!(parse_entries("not-an-address a.test"), None);
        assert_eq!(parse_entries("127.0.0.11"), None);
    }
}
