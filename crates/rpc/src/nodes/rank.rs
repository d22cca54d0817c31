//! Which node a key prefers: rendezvous hashing.
//!
//! Every node has a score for every key; the highest wins. When a node leaves, its keys move to
//! their next-highest and no other key moves. Scores depend on nothing but key and address, so
//! that all callers, of whatever version, choose alike.

use std::hash::{Hash, Hasher};

/// Hash of a key, the same in every process.
pub(crate) fn hash_of(key: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = StableHasher(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hasher);
    hasher.finish()
}

/// How much a key likes a node, both given by their hashes.
pub(crate) fn score(key: u64, node: u64) -> u64 {
    mix(key ^ node)
}

/// Lane of a key; independent of the choice of the node.
pub(crate) fn lane_of(key: u64, lanes: usize) -> usize {
    if lanes <= 1 {
        return 0;
    }
    usize::try_from(key >> 32).unwrap_or(0) % lanes
}

/// FNV-1a with a final mix. Unlike the hasher of the standard library it is the same in every
/// version; nothing here is chosen by somebody who gains by collisions.
struct StableHasher(u64);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write(&[byte]);
    }

    /// Eight bytes in one step; also what makes the hash independent of the byte order.
    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(u64::try_from(number).unwrap_or(u64::MAX));
    }

    fn write_isize(&mut self, number: isize) {
        self.write_i64(i64::try_from(number).unwrap_or(i64::MAX));
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

/// The finalizer of `SplitMix64`: every bit of the input changes half of the output's.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use downlink_domain::id::{DeviceId, DeviceKey, HubName};

    use super::*;

    const HASH_OF_KEY: u64 = 0x6f9c_bb08_480d_a229;
    const HASH_OF_NAME: u64 = 0xb0ef_bd11_2b25_f3c1;

    #[test]
    fn hashes_are_those_of_every_other_version() {
        let hub: HubName = "hub.example.net".parse().unwrap();
        let device: DeviceId = "boiler-7".parse().unwrap();
        assert_eq!(hash_of(&DeviceKey(7)), HASH_OF_KEY);
        assert_eq!(hash_of(&(&hub, &device)), HASH_OF_NAME);
    }
}
