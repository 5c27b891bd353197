//! Time as the databases and messages hold it, and clocks that a test can turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// So many milliseconds later (earlier if negative); stays within what can be counted.
    #[must_use]
    pub const fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// Where the time comes from: the machine, or a test.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    set: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    pub const fn machine() -> Self {
        Self { set: None }
    }

    /// A clock that stands still until [`Self::set`] turns it, for tests.
    pub fn standing_at(moment: Millis) -> Self {
        Self { set: Some(Arc::new(AtomicI64::new(moment.0))) }
    }

    /// Turns a standing clock; a machine's clock is left alone.
    pub fn set(&self, moment: Millis) {
        if let Some(set) = &self.set {
            set.store(moment.0, Ordering::SeqCst);
        }
    }

    /// Now.
    pub fn now(&self) -> Millis {
        if let Some(set) = &self.set {
            return Millis(set.load(Ordering::SeqCst));
        }
        // A clock before 1970 is wrong by so much that the order of things cannot be told from it anyway.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_is_turned_for_all_who_hold_it() {
        let clock = Clock::standing_at(Millis(5));
        let other = clock.clone();
        clock.set(Millis(7));
        assert_eq!(other.now(), Millis(7));
        assert!(Clock::machine().now() > Millis(1_600_000_000_000));
    }
}
