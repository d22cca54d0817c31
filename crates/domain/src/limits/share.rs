//! How gateways that know each other's wants divide a rate, each by itself and all alike.

/// Wants are told in thousandths of operations a second, as far as 32 bits go.
pub const WANTS_PER_OPERATION: f64 = 1_000.0;

/// What gateway number `mine` of `wants` may take of `rate`, which is in thousandths of operations a second as they are; the shares of all are `rate` together.
///
/// Where all have what they want, what is left is divided evenly, so that each has room to grow. Where they do not, no
/// one has more than another that wants more (max-min fairness): a greedy gateway takes from nobody who asks for less
/// than an even part. An empty list, or a place beyond it, has nothing.
pub fn share(rate: f64, wants: &[u32], mine: usize) -> f64 {
    let Some(want) = wants.get(mine).map(|want| f64::from(*want)) else {
        return 0.0;
    };
    let total: f64 = wants.iter().map(|want| f64::from(*want)).sum();
    if total <= rate {
        return want + (rate - total) / to_f64(wants.len());
    }
    let mut sorted: Vec<f64> = wants.iter().map(|want| f64::from(*want)).collect();
    sorted.sort_by(f64::total_cmp);
    let mut left = rate;
    let mut level = 0.0;
    for (served, want) in sorted.iter().enumerate() {
        level = left / to_f64(sorted.len() - served);
        if *want > level {
            break;
        }
        left -= want;
    }
    want.min(level)
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
