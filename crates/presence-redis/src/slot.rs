//! Slots of a Redis Cluster: which part of the key space a key lies in.

/// Number of slots.
pub(crate) const SLOTS: u16 = 16_384;

/// CRC-16/XMODEM, the checksum that Redis Cluster prescribes, of every byte.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// The slot of a key: that of what stands between the first braces, if anything does.
pub(crate) fn slot_of(key: &str) -> u16 {
    let hashed = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key);
    let step = |crc: u16, byte: &u8| {
        let index = usize::from(crc >> 8) ^ usize::from(*byte);
        (crc << 8) ^ TABLE[index]
    };
    hashed.as_bytes().iter().fold(0, step) % SLOTS
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot_of("123456789"), 0x31C3);
        for key in [
            "",
            "a",
            "downlink:{17}",
            "{}x",
            "x{",
            "a{b}{c}",
            "a{b",
            "}{",
        ] {
            assert_eq!(Slot::new(slot_of(key)), Some(Slot::for_key(key)), "{key}");
        }
        for device in 0..1000 {
            let key = format!("downlink:{{{device}}}");
            assert_eq!(Slot::new(slot_of(&key)), Some(Slot::for_key(&key)));
        }
    }
}
