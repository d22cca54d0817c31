//! Values written as people write them.

pub use self::duration::HumanDuration;
pub use self::limit::{HumanLimit, NotALimit};
pub use self::list::List;
pub use self::size::ByteSize;

mod duration;
mod limit;
mod list;
mod size;

/// No duration or size needs more characters than this.
const MAX_TEXT_BYTES: usize = 64;

/// Splits a text of numbers and units, such as `1h30m`, into pairs; `None` if it is none.
fn parts(text: &str) -> Option<Vec<(u64, &str)>> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, tail) = rest.split_at(unit_at);
        let tail = tail.trim_start();
        let end = tail
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, after) = tail.split_at(end);
        if unit.is_empty() {
            return None;
        }
        parts.push((number.parse().ok()?, unit));
        rest = after.trim_start();
    }
    Some(parts)
}
