//! Several threads over the parts of one study, each with codecs and a session of its own.
//!
//! A session that computes on two threads takes more of both than two sessions of one thread each, because its threads wait for one
//! another. So what is large enough to be parted (a series, a slide) is parted; a single picture gets one session on all cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use overread_dicom::read::CodecHost;
use overread_infer::{Engine, InferError, Pack, Runtime};

/// What one thread works with.
pub(crate) struct Hand {
    codec: CodecHost,
    /// Made by the thread when it begins.
    engine: Option<Engine>,
}

/// The threads of a reader for one pack.
pub(crate) struct Crew {
    runtime: Runtime,
    pack: Arc<Pack>,
    hands: Vec<Hand>,
}

impl Crew {
    pub(crate) fn new(runtime: Runtime, pack: Arc<Pack>, codec: &CodecHost, threads: usize) -> Self {
        let hand = |_| Hand { codec: codec.another(), engine: None };
        Self { runtime, pack, hands: (0..threads.max(1)).map(hand).collect() }
    }

    /// How many threads there are.
    pub(crate) const fn threads(&self) -> usize {
        self.hands.len()
    }

    /// Does `work` on each part, the next part by the next thread that is free, and gives what came of them in their order. The first
    /// failure ends it.
    pub(crate) fn each<P: Sync, R: Send>(
        &mut self,
        parts: &[P],
        work: impl Fn(&mut CodecHost, &mut Engine, &P) -> Result<R, InferError> + Sync,
    ) -> Result<Vec<R>, InferError> {
        let (next, work, runtime, pack) = (AtomicUsize::new(0), &work, &self.runtime, &self.pack);
        let done = std::thread::scope(|scope| {
            let next = &next;
            let run = move |hand: &mut Hand| -> Result<Vec<(usize, R)>, InferError> {
                let Hand { codec, engine } = hand;
                let engine = match engine {
                    Some(engine) => engine,
                    None => engine.insert(Engine::new(runtime, Arc::clone(pack), 1)?),
                };
                let mut done = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(part) = parts.get(index) else { return Ok(done) };
                    match work(codec, engine, part) {
                        Ok(result) => done.push((index, result)),
                        Err(e) => {
                            // The others take nothing more.
                            next.store(parts.len(), Ordering::Relaxed);
                            return Err(e);
                        }
                    }
                }
            };
            let threads: Vec<_> = self.hands.iter_mut().map(|hand| scope.spawn(move || run(hand))).collect();
            let lost = |_| InferError::Preprocess("a thread that read a part of the study was lost".into());
            threads.into_iter().map(|thread| thread.join().map_err(lost)?).collect::<Result<Vec<_>, _>>()
        })?;
        let mut done: Vec<(usize, R)> = done.into_iter().flatten().collect();
        done.sort_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }
}
