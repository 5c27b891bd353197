//! Parts of one job, done by several threads that each have what they need to work (a codec process, a model).
//!
//! `rayon` hands out work in the same way, but its threads are the process's own and keep nothing between two calls; here what a thread
//! works with is dear to make and outlives the call.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A thread that panicked.
#[derive(Debug, thiserror::Error)]
#[error("a thread that did a part of the work was lost; try again, and report it if it is lost again")]
pub struct Lost;

/// Does `work` on each part, the next part by the next of `hands` that is free, and gives what came of them in the order of the parts.
///
/// # Errors
/// The first failure, after which no thread begins another part.
pub fn each<H: Send, P: Sync, R: Send, E: Send + From<Lost>>(
    hands: &mut [H],
    parts: &[P],
    work: impl Fn(&mut H, &P) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (next, work) = (AtomicUsize::new(0), &work);
    let run = |hand: &mut H| -> Result<Vec<(usize, R)>, E> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(index) else { return Ok(done) };
            match work(hand, part) {
                Ok(result) => done.push((index, result)),
                Err(e) => {
                    next.store(parts.len(), Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
    };
    let run = &run;
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = hands.iter_mut().map(|hand| scope.spawn(move || run(hand))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| Lost)?).collect::<Result<Vec<_>, E>>()
    })?;
    let mut done: Vec<(usize, R)> = done.into_iter().flatten().collect();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Failure {
        Part(u32),
        Lost,
    }

    impl From<Lost> for Failure {
        fn from(_: Lost) -> Self {
            Self::Lost
        }
    }

    #[test]
    fn results_come_in_the_order_of_their_parts() {
        let parts: Vec<u32> = (0..500).collect();
        let mut hands = [0, 0, 0];
        let squares = each(&mut hands, &parts, |count, part| {
            *count += 1;
            Ok::<_, Failure>(part * part)
        });
        assert_eq!(squares.unwrap(), parts.iter().map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(hands.iter().sum::<u32>(), 500);
    }

    #[test]
    fn the_first_failure_ends_it() {
        let parts: Vec<u32> = (0..500).collect();
        let mut hands = [0];
        let failed = each(&mut hands, &parts, |count, part| {
            *count += 1;
            if *part == 7 { Err(Failure::Part(*part)) } else { Ok(()) }
        });
        assert_eq!((failed, hands), (Err(Failure::Part(7)), [8]));
    }

    #[test]
    fn a_panic_is_a_failure_and_no_panic_of_the_caller() {
        let failed = each(&mut [()], &[1], |(), _| -> Result<(), Failure> { panic!("a thread's own") });
        assert_eq!(failed, Err(Failure::Lost));
    }
}
