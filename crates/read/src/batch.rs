//! Many studies in parallel, answered in input order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// How many threads read, and how many each session computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Threads that read studies.
    pub readers: usize,
    /// Threads of each one's session.
    pub threads_each: usize,
}

impl Workers {
    /// The best split of `cores` over `studies`: one study after another a core, or all cores for a few.
    pub fn split(cores: usize, studies: usize) -> Self {
        let readers = cores.min(studies).max(1);
        Self { readers, threads_each: (cores / readers).max(1) }
    }
}

/// Answers every item on `workers` threads and hands the answers to `emit` in the order of the items. At most a few
/// answers a thread wait for their turn, so memory does not grow with the number of items.
///
/// # Errors
/// The first error of `make`, by which each thread makes its state.
pub fn in_order<T, S, A, E>(
    items: &[T],
    workers: usize,
    make: impl Fn() -> Result<S, E> + Sync,
    answer: impl Fn(&mut S, &T) -> A + Sync,
    mut emit: impl FnMut(A),
) -> Result<(), E>
where
    T: Sync,
    A: Send,
    E: Send,
{
    let next = AtomicUsize::new(0);
    let stopped = &AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel::<Result<(usize, A), E>>(workers * 4);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let sender = sender.clone();
            let (next, make, answer) = (&next, &make, &answer);
            scope.spawn(move || {
                let mut state = match make() {
                    Ok(state) => state,
                    Err(e) => {
                        stopped.store(1, Ordering::Relaxed);
                        let _ = sender.send(Err(e));
                        return;
                    }
                };
                while stopped.load(Ordering::Relaxed) == 0 {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    if sender.send(Ok((index, answer(&mut state, item)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut turn = 0;
        for message in receiver {
            let (index, answered) = message?;
            waiting.insert(index, answered);
            while let Some(answered) = waiting.remove(&turn) {
                emit(answered);
                turn += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order() {
        let items: Vec<u64> = (0..200).collect();
        let mut out = vec![];
        let slow_start = |_: &mut (), n: &u64| {
            if n.is_multiple_of(7) {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            n * 2
        };
        in_order(&items, 3, || Ok::<(), ()>(()), slow_start, |a| out.push(a)).unwrap();
        assert_eq!(out, (0..200).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_thread_that_cannot_start_is_an_error() {
        let run = in_order(&[1, 2, 3], 2, || Err::<(), &str>("no runtime"), |(), n| *n, |_| ());
        assert_eq!(run, Err("no runtime"));
    }

    #[test]
    fn cores_are_split_over_studies() {
        assert_eq!(Workers::split(8, 1), Workers { readers: 1, threads_each: 8 });
        assert_eq!(Workers::split(8, 100), Workers { readers: 8, threads_each: 1 });
        assert_eq!(Workers::split(2, 0), Workers { readers: 1, threads_each: 2 });
    }
}
