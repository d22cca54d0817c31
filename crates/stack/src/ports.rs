//! Loopback ports that stay with a server while it is down.
//!
//! A port from the kernel's ephemeral range may be taken as the source of somebody's connection
//! while a server restarts. So ports come from below that range, and a lock on a file named after
//! the port keeps the test processes of one machine from choosing the same.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};

use crate::StackError;

/// The ports to choose from: below the usual ephemeral range (32768 and up), above common servers.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port nobody listens on and no other process of this crate will choose.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// Locked for as long as this value lives.
    _lock: File,
}

impl Port {
    /// Chooses a free port, beginning anywhere.
    pub(crate) fn reserve() -> Result<Self, StackError> {
        let folder = std::env::temp_dir().join("downlink-ports");
        let _ = fs::create_dir(&folder);
        let size = RANGE.end - RANGE.start;
        let first = RandomState::new().hash_one("port") % u64::from(size);
        let first = u16::try_from(first).unwrap_or(0);
        for step in 0..size {
            let number = RANGE.start + (first + step) % size;
            let Ok(lock) = File::create(folder.join(number.to_string())) else {
                continue;
            };
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self {
                    number,
                    _lock: lock,
                });
            }
        }
        Err(StackError::new(format!(
            "no free port from {} to {}, or {} is not writable",
            RANGE.start,
            RANGE.end - 1,
            folder.display()
        )))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
