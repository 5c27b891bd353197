//! Time as the databases and messages hold it, and clocks that a test can turn.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

/// Where the time comes from: the machine, or a test. It tells the time of day, which a person or a time server may turn, and how much time has passed,
/// which nobody can.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    hands: Option<Arc<Hands>>,
}

/// The hands of a clock that a test moves: the time of day, and how much time has passed.
#[derive(Debug)]
struct Hands(Mutex<(Millis, i64)>);

/// What the time that passed is counted from, on a machine's clock.
static BEGIN: OnceLock<Instant> = OnceLock::new();

impl Clock {
    /// The machine's clock.
    pub const fn machine() -> Self {
        Self { hands: None }
    }

    /// A clock that stands still until [`Self::pass`] or [`Self::turn`] moves it, for tests.
    pub fn standing_at(moment: Millis) -> Self {
        Self { hands: Some(Arc::new(Hands(Mutex::new((moment, 0))))) }
    }

    /// Lets time pass, in milliseconds, on a standing clock; a machine's clock is left alone.
    pub fn pass(&self, milliseconds: i64) {
        self.move_by(milliseconds, milliseconds);
    }

    /// Turns the time of day of a standing clock by so many milliseconds, as a time server does: no time passes. A machine's clock is left alone.
    pub fn turn(&self, milliseconds: i64) {
        self.move_by(milliseconds, 0);
    }

    fn move_by(&self, day: i64, passed: i64) {
        if let Some(hands) = &self.hands {
            let mut hands = hands.0.lock().unwrap_or_else(PoisonError::into_inner);
            *hands = (hands.0.plus(day), hands.1 + passed);
        }
    }

    /// Now, by the time of day.
    pub fn now(&self) -> Millis {
        self.read().0
    }

    /// Now by the time of day, and the milliseconds that have passed since some moment of this process, read at once.
    pub fn read(&self) -> (Millis, i64) {
        if let Some(hands) = &self.hands {
            return *hands.0.lock().unwrap_or_else(PoisonError::into_inner);
        }
        let passed = BEGIN.get_or_init(Instant::now).elapsed().as_millis();
        // A clock before 1970 is wrong by so much that the order of things cannot be told from it anyway.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = |n: u128| i64::try_from(n).unwrap_or(i64::MAX);
        (Millis(whole(since.as_millis())), whole(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_is_moved_for_all_who_hold_it() {
        let clock = Clock::standing_at(Millis(5));
        let other = clock.clone();
        clock.pass(2);
        assert_eq!(other.read(), (Millis(7), 2));
        clock.turn(-3);
        assert_eq!(other.read(), (Millis(4), 2));
        assert!(Clock::machine().now() > Millis(1_600_000_000_000));
        let before = Clock::machine().read().1;
        assert!(Clock::machine().read().1 >= before);
    }
}
