//! Who may read now. A study that an earlier attempt did not survive reads alone, so that it takes no other with it when it kills the process again.
//!
//! Nobody waits inside: whoever may not read yet comes back later, and its attempt is not counted. An attempt that waited while another
//! study killed the process would be blamed for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long others are held back for a job that wants to be alone and does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets many ordinary jobs in at once, or one suspicious one.
#[derive(Default)]
pub(crate) struct Gate {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    running: usize,
    alone: bool,
    /// The suspicious job that comes next, and since when it was last seen.
    next: Option<(i64, Instant)>,
}

/// A place inside; given back when dropped.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    alone: bool,
}

impl Gate {
    /// A place for a job, if its turn has come.
    pub(crate) fn enter(&self, job: i64, suspicious: bool) -> Option<Pass<'_>> {
        let mut inner = self.lock();
        if inner.next.is_some_and(|(_, seen)| seen.elapsed() > PATIENCE) {
            inner.next = None;
        }
        if inner.alone {
            return None;
        }
        if suspicious {
            if inner.next.is_some_and(|(id, _)| id != job) {
                return None;
            }
            if inner.running > 0 {
                inner.next = Some((job, Instant::now()));
                return None;
            }
            inner.next = None;
            inner.alone = true;
        } else {
            if inner.next.is_some() {
                return None;
            }
            inner.running += 1;
        }
        Some(Pass { gate: self, alone: suspicious })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters: a panic elsewhere leaves them as true as they were.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        if self.alone {
            inner.alone = false;
        } else {
            inner.running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicious_job_is_alone_and_does_not_starve() {
        let gate = Gate::default();
        let (first, second) = (gate.enter(1, false).unwrap(), gate.enter(2, false).unwrap());
        assert!(gate.enter(9, true).is_none(), "others read");
        assert!(gate.enter(3, false).is_none(), "it would starve");
        assert!(gate.enter(8, true).is_none(), "it comes after 9");
        drop((first, second));
        let alone = gate.enter(9, true).unwrap();
        assert!(gate.enter(3, false).is_none() && gate.enter(8, true).is_none());
        drop(alone);
        let alone = gate.enter(8, true).unwrap();
        drop(alone);
        assert!(gate.enter(3, false).is_some());
    }
}
