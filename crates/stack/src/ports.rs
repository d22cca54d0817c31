//! Loopback ports that stay with a server while it is down.
//!
//! A port from the kernel's ephemeral range may be taken as the source of somebody's connection
//! while a server restarts. So ports come from below that range, and a lock on a file named after
//! the port keeps the test processes of one machine from choosing the same.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

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
        let size = RANGE.end - RANGE.start;
        let first = RandomState::new().hash_one("port") % u64::from(size);
        let first = u16::try_from(first).unwrap_or(0);
        (0..size)
            .find_map(|step| Self::try_reserve(RANGE.start + (first + step) % size))
            .ok_or_else(|| {
                StackError::new(format!(
                    "no free port from {} to {}, or {} is not writable",
                    RANGE.start,
                    RANGE.end - 1,
                    lock_folder().display()
                ))
            })
    }

    /// Takes this port if it is free.
    pub(crate) fn try_reserve(number: u16) -> Option<Self> {
        let folder = lock_folder();
        let _ = fs::create_dir(&folder);
        let lock = File::create(folder.join(number.to_string())).ok()?;
        lock.try_lock().ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self {
            number,
            _lock: lock,
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

fn lock_folder() -> PathBuf {
    std::env::temp_dir().join("downlink-ports")
}
